package archive

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// usualFolders are where packages put PostgreSQL's programs, a folder a version.
var usualFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/*postgresql@*/bin", "/opt/homebrew/opt/libpq/bin", "/usr/local/opt/*postgresql@*/bin"}

// programs are PostgreSQL's programs on this machine.
type programs struct {
	path  string   // as PATH
	usual []string // patterns of further folders
}

// program is a file and its major version.
type program struct {
	file  string
	major int
}

// all lists the programs of that name, the oldest first.
func (p programs) all(ctx context.Context, name string) []program {
	folders := filepath.SplitList(p.path)
	for _, pattern := range p.usual {
		found, _ := filepath.Glob(pattern) // the patterns are good
		folders = append(folders, found...)
	}
	var all []program
	for _, folder := range folders {
		file := filepath.Join(folder, name)
		text, err := exec.CommandContext(ctx, file, "--version").Output()
		if major := majorOf(string(text)); err == nil && major > 0 {
			all = append(all, program{file, major})
		}
	}
	slices.SortStableFunc(all, func(a, b program) int { return a.major - b.major })
	return all
}

// find returns the oldest program that is not older than least: what it writes is
// read by programs of its age and later, and what it sends is understood by servers
// of its age and later.
func (p programs) find(ctx context.Context, name string, least int) (string, error) {
	all := p.all(ctx, name)
	if i := slices.IndexFunc(all, func(found program) bool { return found.major >= least }); i >= 0 {
		return all[i].file, nil
	}
	here := "none"
	if len(all) > 0 {
		here = strconv.Itoa(all[len(all)-1].major)
	}
	return "", fmt.Errorf("this takes %s of PostgreSQL %d or later, and the latest here is %s: install postgresql-client-%d, or put its folder on PATH", name, least, here, least)
}

// majorOf reads the major version of "pg_dump (PostgreSQL) 17.5 (Debian 17.5-1)" or
// "17.5"; 0 where there is none.
func majorOf(text string) int {
	found := regexp.MustCompile(`(?:^|\) )(\d+)`).FindStringSubmatch(strings.TrimSpace(text))
	if found == nil {
		return 0
	}
	major, _ := strconv.Atoi(found[1])
	return major
}

// call runs a program. Its error is what the program said last.
func call(ctx context.Context, in io.Reader, out io.Writer, password, file string, args ...string) error {
	command := exec.CommandContext(ctx, file, args...)
	command.Env = append(os.Environ(), "PGPASSWORD="+password, "PGCONNECT_TIMEOUT=10", "LC_ALL=C")
	command.Stdin, command.Stdout = in, out
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %s", filepath.Base(file), cmp.Or(strings.TrimSpace(said.String()), err.Error()))
	}
	return nil
}
