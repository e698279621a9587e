// Command cmd serves the function metrics.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(metrics.Function)) }
