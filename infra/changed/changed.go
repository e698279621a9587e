package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// Changes is what must be deployed again.
type Changes struct {
	Functions []string `json:"functions"` // in the order of the manifest
	Migrate   bool     `json:"migrate"`   // the job, before the functions
}

// Run is the command, in the module at dir: it prints the changes since -base as
// one line of JSON and returns the exit code. Why it takes everything for changed,
// if it does, is written to errs.
func Run(ctx context.Context, dir string, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("changed", flag.ContinueOnError)
	flags.SetOutput(errs)
	base := flags.String("base", "", "the commit that is deployed; without it, or where it is not known, everything has changed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(errs, "%q is too much: changed -base COMMIT\n", flags.Args())
		return 2
	}
	changes, err := since(ctx, dir, *base, errs)
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return printed(out, changes)
}

func printed(out io.Writer, changes Changes) int {
	line, _ := json.Marshal(changes) // of strings and a boolean
	if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
		return 1
	}
	return 0
}

func since(ctx context.Context, dir, base string, errs io.Writer) (Changes, error) {
	names, err := functions(dir)
	if err != nil {
		return Changes{}, err
	}
	everything := Changes{Functions: names, Migrate: true}
	if base == "" {
		fmt.Fprintln(errs, "everything: no -base to compare with")
		return everything, nil
	}
	// Also refuses what begins like a flag of git's.
	if _, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", base+"^{commit}"); err != nil {
		fmt.Fprintf(errs, "everything: %q is no commit of this clone\n", base)
		return everything, nil
	}
	// Without renames: a file that moved has gone from where it was.
	text, err := git(ctx, dir, "diff", "--name-only", "--no-renames", "-z", base, "HEAD", "--")
	if err != nil {
		return Changes{}, err
	}
	differ := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	if i := slices.IndexFunc(differ, concernsAll); i >= 0 {
		fmt.Fprintln(errs, "everything: changed is", differ[i])
		return everything, nil
	}
	changes := Changes{Functions: []string{}}
	for _, name := range names {
		touched, err := touches(ctx, dir, "./functions/"+name, differ)
		if err != nil {
			return Changes{}, err
		}
		if touched {
			changes.Functions = append(changes.Functions, name)
		}
	}
	changes.Migrate, err = touches(ctx, dir, "./migrations/cmd", differ)
	return changes, err
}

// concernsAll tells whether a file decides how everything is built or deployed.
// Which modules a change of go.mod concerns, only a build would tell.
func concernsAll(file string) bool {
	return file == "go.mod" || file == "go.sum" || file == ".github/workflows/deploy.yml" ||
		(strings.HasPrefix(file, "shared/function/stage/") || strings.HasPrefix(file, "infra/release/")) && built(file)
}

// built tells whether a file may be part of a build.
func built(file string) bool {
	return !strings.HasSuffix(file, "_test.go") && !slices.Contains(strings.Split(file, "/"), "testdata")
}

// touches tells whether the package is built from one of the files, or was until
// now: a file that is gone counts for each package in whose folder it lay, since
// it may have been embedded from there.
func touches(ctx context.Context, dir, pkg string, differ []string) (bool, error) {
	sources, err := stage.Sources(ctx, dir, pkg)
	if err != nil {
		return false, err
	}
	for _, file := range differ {
		if slices.Contains(sources, file) {
			return true, nil
		}
		if !built(file) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			continue
		}
		for folder := path.Dir(file); folder != "."; folder = path.Dir(folder) {
			if slices.ContainsFunc(sources, func(source string) bool { return path.Dir(source) == folder }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// functions names the functions that the manifest lists.
func functions(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "infra", "functions.json"))
	if err != nil {
		return nil, fmt.Errorf("read the manifest: %w; run this at the root of the repository", err)
	}
	var manifest struct{ Functions []struct{ Name string } }
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("read the manifest: %w; print it again: go test ./functions -update", err)
	}
	names := []string{}
	for _, f := range manifest.Functions {
		names = append(names, f.Name)
	}
	return names, nil
}

func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var problem bytes.Buffer
	command.Stderr = &problem
	text, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(problem.Bytes()))
	}
	return text, nil
}
