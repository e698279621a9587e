// Command release deploys one staged function: a revision without traffic first, then
// a growing share for as long as it answers well, and all of it back to the revision
// before where it does not. Both pipelines run it, cloudbuild.yaml and GitHub's
// deploy.yml. Staging is left to shared/function/stage, the service itself to Terraform.
//
//	go run ./infra/release -function auth -project ID -region R -commit SHA
package main

import (
	"context"
	"os"
)

func main() { os.Exit(Run(context.Background(), ".", os.Args[1:], os.Stdout)) }
