// Command cmd applies the migrations to the database at DATABASE_URL, as the owner
// of its tables, and gives each function what it declares. DATABASE_MEMBERS names
// the logins that the functions use, where they have one each: function=login,
// with commas between.
package main

import (
	"context"
	"os"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
)

func main() { os.Exit(migrate.Run(context.Background(), os.LookupEnv, os.Stdout)) }
