package server

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version that the product runs on.
const oldest = 14

// binaries are a server's programs in one folder.
type binaries struct {
	dir     string
	version string // "16.9"
	major   int
}

// usualDirs are where packages put a server's programs.
var usualDirs = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/pgsql-*/bin",          // the project's packages for Red Hat
	"/usr/local/pgsql/bin",      // built from source
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// obtain returns the newest binaries of the machine, or downloaded ones when
// there are none. A major that is not 0 must be met: data is of one version.
func obtain(ctx context.Context, o Options, a account, major int) (binaries, error) {
	cache := o.CacheDir
	if cache == "" {
		var err error
		if cache, err = DefaultDir(); err != nil {
			return binaries{}, err
		}
	}
	dirs := o.BinDirs
	if dirs == nil {
		dirs = localDirs(ctx)
	}
	found := find(ctx, a, append(slices.Clone(dirs), downloads(cache)...))
	if major == 0 && len(found) > 0 {
		return found[0], nil
	}
	if i := slices.IndexFunc(found, func(b binaries) bool { return b.major == major }); i >= 0 {
		return found[i], nil
	}
	if major != 0 && major != downloadMajor {
		return binaries{}, fmt.Errorf("%s: %s", unmet(o, major, found), howToMeet(o, major))
	}
	dir, err := download(ctx, o, a, cache)
	if err == nil {
		if brought := find(ctx, a, []string{dir}); len(brought) > 0 {
			return brought[0], nil
		}
		err = fmt.Errorf("the PostgreSQL that was downloaded to %s does not run on this machine", dir)
	}
	if major != 0 {
		return binaries{}, fmt.Errorf("%s, and downloading it failed: %w\nTo go on, %s", unmet(o, major, found), err, howToMeet(o, major))
	}
	return binaries{}, fmt.Errorf("this machine has no PostgreSQL server from version %d on, and downloading one failed: %w\n%s", oldest, err, howToInstall())
}

// unmet says that found lacks the major version of the data.
func unmet(o Options, major int, found []binaries) string {
	return fmt.Sprintf("the data in %s is of PostgreSQL %d, which is not installed (this machine has %s)", o.Dir, major, versions(found))
}

func howToMeet(o Options, major int) string {
	install := fmt.Sprintf("apt install postgresql-%d on Debian and Ubuntu", major)
	if runtime.GOOS == "darwin" {
		install = fmt.Sprintf("brew install postgresql@%d", major)
	}
	return fmt.Sprintf("install PostgreSQL %d (%s), begin afresh with -reset, or choose another folder with %s", major, install, o.Name)
}

func howToInstall() string {
	install := "apt install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora)"
	if runtime.GOOS == "darwin" {
		install = "brew install postgresql@16"
	}
	return "Install one, " + install + ", or set DATABASE_URL to a server that runs: postgres://USER:PASSWORD@HOST/NAME"
}

func versions(found []binaries) string {
	if len(found) == 0 {
		return "none"
	}
	all := make([]string, len(found))
	for i, b := range found {
		all[i] = b.version
	}
	return strings.Join(all, ", ")
}

// localDirs are the folders that may hold a server's programs.
func localDirs(ctx context.Context) []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if bin, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(bin)))
	}
	for _, pattern := range usualDirs {
		match, _ := filepath.Glob(pattern) // the patterns are good
		dirs = append(dirs, match...)
	}
	return dirs
}

// find returns the binaries in dirs that run on this machine as the account,
// newest first.
func find(ctx context.Context, a account, dirs []string) []binaries {
	var found []binaries
	seen := map[string]bool{}
	for _, dir := range dirs {
		program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
		if err != nil || seen[program] {
			continue
		}
		seen[program] = true
		if b, ok := inspect(ctx, a, program); ok {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(x, y binaries) int { return compareVersions(y.version, x.version) })
	return found
}

// inspect asks a postgres program for its version, as the account: one that the
// account may not run is none.
func inspect(ctx context.Context, a account, program string) (binaries, bool) {
	dir := filepath.Dir(program)
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, false
	}
	cmd := a.as(exec.CommandContext(ctx, program, "--version"))
	cmd.Dir = "/"
	said, err := cmd.Output()
	if err != nil {
		return binaries{}, false
	}
	version, major, ok := parseVersion(string(said))
	if !ok || major < oldest {
		return binaries{}, false
	}
	return binaries{dir: dir, version: version, major: major}, true
}

// versionLine is what a released server says about itself: "postgres
// (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d{1,4})(?:\.\d{1,4})*)`)

func parseVersion(said string) (version string, major int, ok bool) {
	match := versionLine.FindStringSubmatch(said)
	if match == nil {
		return "", 0, false
	}
	major, err := strconv.Atoi(match[2])
	return match[1], major, err == nil
}

func compareVersions(x, y string) int {
	return slices.CompareFunc(strings.Split(x, "."), strings.Split(y, "."), func(x, y string) int {
		m, _ := strconv.Atoi(x) // digits, by parseVersion
		n, _ := strconv.Atoi(y)
		return cmp.Compare(m, n)
	})
}
