// Command cmd makes keys for tokens and takes a set of them through a rotation:
//
//	go run ./shared/identity/keys/cmd new access
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/shared/identity/keys"
)

func main() { os.Exit(keys.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
