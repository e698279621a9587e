// Command rebuild has every rollup be computed anew from facts: it marks each day
// that has facts or rollups, and the scheduled calls of rollup do the rest.
//
//	DATABASE_URL=postgres://... go run ./functions/rollup/rebuild
package main

import (
	"context"
	"os"
)

func main() { os.Exit(Run(context.Background(), os.Getenv, os.Stdout)) }
