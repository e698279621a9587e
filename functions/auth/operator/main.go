// Command operator makes the links by which people get into an installation that
// lets nobody in by itself: for the first owner, and for who has forgotten a
// password and has no owner to ask. It needs a login that may
// do what auth may.
//
//	go run ./functions/auth/operator owner
//	go run ./functions/auth/operator password ada@example.com
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/tunnel"
)

func main() {
	os.Exit(Run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

const usage = `usage:
  operator owner             prints a link that opens an account and a team, good once, for 24 hours
  operator password ADDRESS  prints a link that sets the password of an account, good once, for an hour

DATABASE_URL says where the database is, as in the secret DATABASE_URL-migrate, and
PUBLIC_ORIGIN where the dashboard is, such as https://dash.example.com.
`

// Run is main with its surroundings given. The exit code is 0 when a link was made,
// 1 when it could not be, and 2 when it is not clear what is wanted.
func Run(ctx context.Context, args []string, lookup function.Lookup, stdout, stderr io.Writer) int {
	secret := access.NewSecret(access.LinkPrefix)
	digest := access.DigestOf(secret)
	var kind string
	var keep func(postgres.DB) error
	switch {
	case len(args) == 1 && args[0] == "owner":
		kind, keep = "owner", func(db postgres.DB) error { return auth.NewOwnerLink(ctx, db, digest.Bytes()) }
	case len(args) == 2 && args[0] == "password":
		kind, keep = "password", func(db postgres.DB) error { return auth.NewPasswordLink(ctx, db, args[1], digest.Bytes()) }
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err := within(ctx, lookup, keep); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	origin, _ := lookup("PUBLIC_ORIGIN")
	if origin == "" {
		fmt.Fprintln(stderr, "PUBLIC_ORIGIN is not set: put the dashboard's address before the link.")
	}
	fmt.Fprintln(stdout, origin+"/#"+kind+"="+secret)
	return 0
}

// within does something with the database, through a tunnel where it takes one.
func within(ctx context.Context, lookup function.Lookup, do func(postgres.DB) error) error {
	address, _ := lookup("DATABASE_URL")
	reached, closeTunnel, err := tunnel.Open(ctx, address)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer func() { _ = closeTunnel() }()
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, at(lookup, reached)).For(function.Function{Name: "operator", Needs: []function.Need{postgres.Need}})
	defer func() { _ = env.Stop(ctx) }()
	return do(postgres.For(env))
}

// at is a lookup that finds the database at an address.
func at(lookup function.Lookup, address string) function.Lookup {
	return func(name string) (string, bool) {
		if name == "DATABASE_URL" {
			return address, true
		}
		return lookup(name)
	}
}
