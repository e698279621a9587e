// Command cmd serves the function web.
package main

import (
	"os"

	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func main() { os.Exit(function.Main(web.Function)) }
