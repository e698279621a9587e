// Command bootstrap makes what must be there before Terraform and GitHub's
// workflows can work, and tells GitHub what they need to know. It may be run again
// at any time: what is there stays.
//
//	go run ./infra/bootstrap cloud -project ID -repository OWNER/NAME
//	go run ./infra/bootstrap github -repository OWNER/NAME
package main

import (
	"context"
	"os"
)

func main() { os.Exit(Run(context.Background(), os.Args[1:], os.Getenv("PATH"), ".", os.Stdout)) }
