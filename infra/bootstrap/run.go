package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
)

const usage = `bootstrap cloud  -project ID -repository OWNER/NAME [-region R] [-billing ACCOUNT] [-budget ACCOUNT] [-dry-run]
    makes the bucket of Terraform's state, and the account that applies it from
    GitHub; and the project itself where -billing says who pays. With -budget that
    account may keep budgets of the billing account, for the variable budget
bootstrap github -repository OWNER/NAME [-dry-run]
    after terraform apply: GitHub's variables and environments

What is there stays; -dry-run asks what is there, says what would be done and does
nothing. gcloud, gh and terraform must be signed in.
`

// errUsage means that the command was not understood; what is wrong is said.
var errUsage = errors.New("see bootstrap -h")

// options are what the operator says.
type options struct {
	project, region, repository, billing, budget string
}

var billingAccount = regexp.MustCompile(`^([0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6})?$`)

// what each must look like, and where it is copied from.
var shapes = []struct {
	flag  string
	value func(options) string
	shape *regexp.Regexp
	say   string
}{
	{"project", func(o options) string { return o.project }, regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`), "a project's id (not its number or name), such as acme-dash"},
	{"region", func(o options) string { return o.region }, regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]{1,2}$`), "a region, such as europe-west1"},
	{"repository", func(o options) string { return o.repository }, regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$`), "OWNER/NAME of the repository on GitHub"},
	{"billing", func(o options) string { return o.billing }, billingAccount, "a billing account, such as 012345-6789AB-CDEF01"},
	{"budget", func(o options) string { return o.budget }, billingAccount, "a billing account, such as 012345-6789AB-CDEF01"},
}

// Run is the command, at the root of the repository at dir, with the programs on
// path. It says on out what it does or what is wrong, and returns the exit code: 2
// when what was asked cannot be done as it stands.
func Run(ctx context.Context, args []string, path, dir string, out io.Writer) int {
	err := run(args, shell{ctx: ctx, path: path, dir: dir, out: out})
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(out, err)
		return 2
	default:
		fmt.Fprintf(out, "%v\nWhat was done stays. When this is mended, run the same again.\n", err)
		return 1
	}
}

func run(args []string, sh shell) error {
	verb := ""
	if len(args) > 0 && (args[0] == "cloud" || args[0] == "github") {
		verb, args = args[0], args[1:]
	}
	var o options
	flags := flag.NewFlagSet("bootstrap", flag.ContinueOnError)
	flags.SetOutput(sh.out)
	flags.Usage = func() { fmt.Fprint(sh.out, usage) }
	flags.StringVar(&o.repository, "repository", "", "")
	flags.BoolVar(&sh.dry, "dry-run", false, "")
	if verb == "cloud" {
		flags.StringVar(&o.project, "project", "", "")
		flags.StringVar(&o.region, "region", "europe-west1", "")
		flags.StringVar(&o.billing, "billing", "", "")
		flags.StringVar(&o.budget, "budget", "", "")
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil || verb == "" || flags.NArg() > 0 {
		return fmt.Errorf("say what to do: bootstrap cloud or bootstrap github; %w", errUsage)
	}
	for _, s := range shapes {
		if flags.Lookup(s.flag) != nil && !s.shape.MatchString(s.value(o)) {
			return fmt.Errorf("-%s is %q and must be %s; %w", s.flag, s.value(o), s.say, errUsage)
		}
	}
	if verb == "github" {
		return github(sh, o)
	}
	return cloud(sh, o)
}
