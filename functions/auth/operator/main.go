// Command operator makes the links by which people get into an installation that
// lets nobody in by itself: for the first owner, and for who has forgotten a
// password and has no owner to ask. It needs what auth needs of the database:
// DATABASE_URL, or a Cloud SQL instance.
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
)

func main() {
	os.Exit(Run(context.Background(), os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}

const usage = `usage:
  operator owner             prints a link that opens an account and a team, good once, for 24 hours
  operator password ADDRESS  prints a link that sets the password of an account, good once, for an hour

DATABASE_URL (or DATABASE_INSTANCE, DATABASE_USER) says where the database is, and
PUBLIC_ORIGIN where the dashboard is, such as https://dash.example.com.
`

// Run is main with its surroundings given. The exit code is 0 when a link was made,
// 1 when it could not be, and 2 when it is not clear what is wanted.
func Run(ctx context.Context, args []string, lookup function.Lookup, stdout, stderr io.Writer) int {
	origin, _ := lookup("PUBLIC_ORIGIN")
	secret := access.NewSecret(access.LinkPrefix)
	digest := access.DigestOf(secret)
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup).For(function.Function{Name: "operator", Needs: []function.Need{postgres.Need}})
	db := postgres.For(env)
	defer func() { _ = env.Stop(ctx) }()
	var kind string
	var err error
	switch {
	case len(args) == 1 && args[0] == "owner":
		kind, err = "owner", auth.NewOwnerLink(ctx, db, digest.Bytes())
	case len(args) == 2 && args[0] == "password":
		kind, err = "password", auth.NewPasswordLink(ctx, db, args[1], digest.Bytes())
	default:
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if origin == "" {
		fmt.Fprintln(stderr, "PUBLIC_ORIGIN is not set: put the dashboard's address before the link.")
	}
	fmt.Fprintln(stdout, origin+"/#"+kind+"="+secret)
	return 0
}
