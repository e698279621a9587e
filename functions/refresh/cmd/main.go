// Command cmd serves the function refresh.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(refresh.Function)) }
