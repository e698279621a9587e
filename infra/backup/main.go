// Command backup writes the database to a file and makes one from such a file.
//
//	go run ./infra/backup dump FILE
//	go run ./infra/backup restore [-replace] FILE
package main

import (
	"context"
	"os"

	"github.com/devops-dashboard/dashboard/infra/backup/archive"
)

func main() { os.Exit(archive.Run(context.Background(), os.Args[1:], os.Getenv, os.Stdout)) }
