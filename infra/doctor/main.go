// Command doctor tells why Google refuses, or would refuse, the token of a GitHub
// workflow. It asks nobody: it reads what Terraform has made, and the workflows.
//
//	terraform output -json wif | go run ./infra/doctor -config -
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/infra/doctor/command"
)

func main() { os.Exit(command.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
