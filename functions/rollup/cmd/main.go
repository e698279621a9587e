// Command cmd serves the function rollup.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(rollup.Function)) }
