package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres/server"
	"github.com/devops-dashboard/dashboard/shared/zone"
)

// options are what the command line and the environment say.
type options struct {
	addr     string
	tls      bool
	data     string
	reset    bool
	repos    []string
	versions *regexp.Regexp
	demo     bool
	zone     string

	zoneGiven bool // and not taken from the machine

	databaseURL, redisURL string
}

// errUsage means that the command line was wrong and what to change was said.
var errUsage = errors.New("usage")

func parseOptions(args []string, out io.Writer) (options, error) {
	o := options{databaseURL: os.Getenv("DATABASE_URL"), redisURL: os.Getenv("REDIS_URL")}
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "serve on `HOST:PORT`")
	flags.BoolVar(&o.tls, "tls", false, "serve https with a certificate made on the spot")
	flags.StringVar(&o.data, "data", "", "keep data in `DIR` (default: the user's cache folder)")
	flags.BoolVar(&o.reset, "reset", false, "begin afresh: delete the data first")
	flags.Func("repo", "import the git history at `PATH`; repeatable (default: the repository around the current folder)", func(path string) error {
		o.repos = append(o.repos, path)
		return nil
	})
	flags.BoolVar(&o.demo, "demo", false, "import a generated history instead")
	tags := flags.String("tags", history.DefaultVersions, "tags that match `REGEXP` are deployments")
	flags.StringVar(&o.zone, "time-zone", localZone(), "the team's IANA `ZONE`, set when the team is made")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage // the flag set has said why
	}
	flags.Visit(func(f *flag.Flag) { o.zoneGiven = o.zoneGiven || f.Name == "time-zone" })
	return o, o.check(flags.Args(), *tags)
}

// check completes the options or says what to change.
func (o *options) check(rest []string, tags string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unknown argument %q; -repo PATH names a repository, -h lists the flags", rest[0])
	}
	versions, err := regexp.Compile(tags)
	if err != nil {
		return fmt.Errorf("-tags is not a regular expression: %w", err)
	}
	o.versions = versions
	if !zone.Known(o.zone) {
		return fmt.Errorf("-time-zone: %q is not an IANA time zone such as Europe/Berlin", o.zone)
	}
	if o.reset && o.databaseURL != "" {
		return errors.New("-reset deletes the data folder, but DATABASE_URL names a database that is not in it; unset one of them")
	}
	if err := o.checkAddr(); err != nil {
		return err
	}
	if o.data == "" {
		if o.data, err = server.DefaultDir(); err != nil {
			return err
		}
	}
	if o.data, err = filepath.Abs(o.data); err != nil {
		return err
	}
	if len(o.repos) == 0 && !o.demo {
		o.repos = []string{"."}
	}
	return nil
}

func (o *options) checkAddr() error {
	host, _, err := net.SplitHostPort(o.addr)
	if err != nil {
		return fmt.Errorf("-addr must be HOST:PORT, such as 127.0.0.1:8080, not %q", o.addr)
	}
	if !o.tls && !loopback(host) {
		return fmt.Errorf("-addr %s is not on loopback, and over plain http browsers drop the sign-in cookie there.\nAdd -tls to serve https with a certificate made on the spot, or stay on 127.0.0.1", o.addr)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// localZone is the machine's time zone by its IANA name, or UTC where it does
// not tell.
func localZone() string {
	target, _ := os.Readlink("/etc/localtime")
	_, linked, _ := strings.Cut(target, "zoneinfo/")
	// TZ may also hold a path or a rule, such as CET-1CEST, which name no zone.
	for _, name := range []string{strings.TrimPrefix(os.Getenv("TZ"), ":"), linked} {
		if zone.Known(name) {
			return name
		}
	}
	return "UTC"
}
