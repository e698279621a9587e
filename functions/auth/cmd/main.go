// Command cmd serves the function auth.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(auth.Function)) }
