package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const usage = `release -function NAME -project ID -region R -commit SHA [-source DIR] [-watch 5m]
    at the root of the repository, after shared/function/stage/cmd has staged the
    function; gcloud must be signed in as the account deploy-NAME
`

// options are what the pipeline says.
type options struct {
	function, project, region, commit, source string
	watch                                     time.Duration // for how long each share is watched
}

// shapes say what each option must look like, and what it is.
var shapes = []struct {
	flag  string
	value func(*options) *string
	shape *regexp.Regexp
	say   string
}{
	{"function", func(o *options) *string { return &o.function }, regexp.MustCompile(`^[a-z][a-z0-9-]{1,21}[a-z0-9]$`), "a name in infra/functions.json, such as auth"},
	{"project", func(o *options) *string { return &o.project }, regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`), "a project's id (not its number or name), such as acme-dash"},
	{"region", func(o *options) *string { return &o.region }, regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]{1,2}$`), "a region, such as europe-west1"},
	{"commit", func(o *options) *string { return &o.commit }, regexp.MustCompile(`^[0-9a-f]{40}$`), "the full id of the commit that was staged"},
}

// Run is the command, at the root of the repository at dir. It says on out what it does, a line each, and returns the exit
// code: 0 when the new revision serves, 2 when it was not understood. A signal counts as
// a failure and so rolls back.
func Run(ctx context.Context, dir string, args []string, out io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return run(ctx, dir, args, world{gcloud: gcloud("gcloud", dir), transport: http.DefaultTransport, now: time.Now, wait: wait}, out)
}

func run(ctx context.Context, dir string, args []string, w world, out io.Writer) int {
	o, err := parsed(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var routes []string
	if err == nil {
		routes, err = openRoutes(dir, o.function)
	}
	if err != nil {
		fmt.Fprintf(out, "%v; see release -h\n", err)
		return 2
	}
	r := &release{options: o, world: w, routes: routes, out: out}
	if err := r.run(ctx); err != nil {
		return 1 // what happened is said
	}
	return 0
}

func parsed(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it
	for _, s := range shapes {
		flags.StringVar(s.value(&o), s.flag, "", "")
	}
	flags.StringVar(&o.source, "source", "", "")
	flags.DurationVar(&o.watch, "watch", 5*time.Minute, "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, usage)
		}
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is too much", flags.Args())
	}
	for _, s := range shapes {
		if v := *s.value(&o); !s.shape.MatchString(v) {
			return o, fmt.Errorf("-%s is %q and must be %s", s.flag, v, s.say)
		}
	}
	if o.watch < lag {
		return o, fmt.Errorf("-watch is %s and must be %s at least: Cloud Monitoring shows no request sooner", o.watch, lag)
	}
	if o.source == "" {
		o.source = "dist/" + o.function
	}
	return o, nil
}

// openRoutes lists what of the function can be asked without knowing anything: each
// GET without a parameter in its path. Those that want a caller answer 401, which
// shows as well that the function works.
func openRoutes(dir, function string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "infra", "functions.json"))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w: run this at the root of the repository", err)
	}
	var m struct {
		Functions []struct {
			Name   string
			Routes []struct{ Method, Path string }
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w: print it again: go test ./functions -update", err)
	}
	for _, f := range m.Functions {
		if f.Name != function {
			continue
		}
		var paths []string
		for _, r := range f.Routes {
			path := strings.TrimSuffix(r.Path, "{$}")
			if r.Method == http.MethodGet && !strings.Contains(path, "{") {
				paths = append(paths, path)
			}
		}
		return paths, nil
	}
	return nil, fmt.Errorf("the manifest has no function %q", function)
}
