// Package archive writes the whole database to a file and makes one from it, with
// PostgreSQL's own programs, so that the file can be read without us. Who keeps the
// file, and how long, is left to the operator; Cloud SQL's own backups are apart.
package archive

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"

	"cloud.google.com/go/cloudsqlconn"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/postgres/tunnel"
)

const usage = `backup dump FILE               write the database at DATABASE_URL to FILE
backup restore [-replace] FILE make FILE the database at DATABASE_URL, which must be
                               empty, or with -replace loses what it holds

DATABASE_URL is the address of the owner of the tables, also one of Cloud SQL:
postgres://migrate:PASSWORD@/dashboard?host=/cloudsql/PROJECT:REGION:INSTANCE
DATABASE_MEMBERS says, for restore, whose logins are the functions'.
`

// errUsage means that the command was not understood; what is wrong is said.
var errUsage = errors.New("see backup -h")

// Run is the command. It says on out what it did or what is wrong, and returns the
// exit code: 2 when what was asked cannot be done as it stands. The options are
// for reaching Cloud SQL.
func Run(ctx context.Context, args []string, getenv func(string) string, out io.Writer, options ...cloudsqlconn.Option) int {
	err := run(ctx, args, getenv, out, options)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(out, err)
		return 2
	default:
		fmt.Fprintln(out, err)
		return 1
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer, options []cloudsqlconn.Option) error {
	flags := flag.NewFlagSet("backup", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() { fmt.Fprint(out, usage) }
	replace := flags.Bool("replace", false, "")
	verb := ""
	if len(args) > 0 && (args[0] == "dump" || args[0] == "restore") {
		verb, args = args[0], args[1:]
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil || verb == "" || flags.NArg() != 1 || verb == "dump" && *replace {
		return fmt.Errorf("say what to do and with which file: backup dump FILE or backup restore FILE; %w", errUsage)
	}
	address := getenv("DATABASE_URL")
	if address == "" {
		return fmt.Errorf("set DATABASE_URL to the address of the owner of the tables; %w", errUsage)
	}
	members, err := migrate.ParseMembers(getenv("DATABASE_MEMBERS"))
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	reached, end, err := tunnel.Open(ctx, address, options...)
	if err != nil {
		return err
	}
	d := database{address: reached, programs: programs{path: getenv("PATH"), usual: usualFolders}, out: out}
	if verb == "dump" {
		err = d.dump(ctx, flags.Arg(0))
	} else {
		err = d.restore(ctx, flags.Arg(0), *replace, members)
	}
	return errors.Join(err, end())
}

// apart takes the password out of an address: others on the machine can read the
// arguments of a program, and not its environment.
func apart(address string) (without, password string) {
	u, err := url.Parse(address)
	if err != nil {
		return address, "" // tunnel.Open has read it
	}
	query := u.Query()
	password, _ = u.User.Password()
	if given := query.Get("password"); given != "" {
		password = given
		query.Del("password")
		u.RawQuery = query.Encode()
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String(), password
}
