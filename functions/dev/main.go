// Command dev is the whole product on one machine: every function in one
// process, behind the front door as they are deployed, over an embedded PostgreSQL
// and Redis, showing the history of a real repository. It decides nothing about
// metrics; it starts, imports, serves and stops.
package main

import (
	"context"
	"os"
)

func main() { os.Exit(Run(context.Background(), os.Args[1:], os.Stdout)) }
