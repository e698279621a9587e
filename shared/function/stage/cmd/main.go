// Command cmd lays out one function's source for deployment:
//
//	go run ./shared/function/stage/cmd -function auth -out dist/auth
package main

import (
	"context"
	"os"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

func main() { os.Exit(stage.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
