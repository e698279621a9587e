// Command changed prints what a deployment must deploy again: the functions, and
// whether the job that migrates, that are built from files which differ between a
// commit and HEAD.
//
//	go run ./infra/changed -base COMMIT
package main

import (
	"context"
	"os"
)

func main() { os.Exit(Run(context.Background(), ".", os.Args[1:], os.Stdout, os.Stderr)) }
