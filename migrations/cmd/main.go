// Command cmd applies the migrations to the database at DATABASE_URL.
package main

import (
	"context"
	"os"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
)

func main() { os.Exit(migrate.Run(context.Background(), os.Getenv("DATABASE_URL"), os.Stdout)) }
