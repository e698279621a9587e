// Command cmd serves the function health.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/health"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(health.Function)) }
