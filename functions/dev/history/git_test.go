package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// line is a plan of n commits on one line, a day apart.
func line(n int) []planned {
	var plan []planned
	for i := range n {
		c := planned{author: "Ada", subject: fmt.Sprintf("Cömmit %d", i), authored: base + int64(i)*86_400, committed: base + int64(i)*86_400}
		if i > 0 {
			c.parents = []int{i - 1}
		}
		plan = append(plan, c)
	}
	return plan
}

// lineRepo is a repository of four commits with a release after the second and
// the fourth.
func lineRepo(t *testing.T, options ...string) *repo {
	t.Helper()
	r := newRepo(t, options...)
	r.fastImport(stream(line(4), 0))
	r.setRefs(map[string]int{"main": 3}, map[string]planTag{"v1.0.0": {commit: 1}, "v1.1.0": {commit: 3}})
	return r
}

// commits collects a history's log.
func commits(t *testing.T, source history.Source) []history.Commit {
	t.Helper()
	ctx := context.Background()
	refs, err := source.Refs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var list []history.Commit
	for c, err := range source.Log(ctx, refs.Tips) {
		if err != nil {
			t.Fatal(err)
		}
		kept := *c
		kept.SHA = []byte(string(c.SHA))
		list = append(list, kept)
	}
	if n, err := source.Count(ctx, refs.Tips); err != nil || n != len(list) {
		t.Errorf("counted %d of %d commits: %v", n, len(list), err)
	}
	return list
}

func TestOpenRefusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := lineRepo(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	r.git("clone", "-q", "--depth", "1", "file://"+r.dir, shallow)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		want error
		says string
	}{
		"shallow":        {shallow, history.ErrShallow, "fetch --unshallow"},
		"no repository":  {t.TempDir(), history.ErrNotRepository, "not a git repository"},
		"no such folder": {filepath.Join(t.TempDir(), "absent"), history.ErrNotRepository, "no such folder"},
		"a file":         {file, history.ErrNotRepository, "no such folder"},
	} {
		_, err := history.Open(ctx, test.path, versions)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := history.Open(context.Background(), t.TempDir(), versions)
	if !errors.Is(err, history.ErrNoGit) || !strings.Contains(err.Error(), "install") {
		t.Error(err)
	}
}

// TestOpenForeignRepository has git believe that the repository is another's.
func TestOpenForeignRepository(t *testing.T) {
	r := lineRepo(t)
	t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	if _, err := history.Open(context.Background(), r.dir, versions); err != nil {
		t.Fatalf("the environment's GIT_ variables reach git: %v", err)
	}
	// A git program that is asked for a foreign repository, for where this test
	// cannot give the repository to another account.
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '$2'\" >&2\nexit 128\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	_, err := history.Open(context.Background(), r.dir, versions)
	if !errors.Is(err, history.ErrForeign) || !strings.Contains(err.Error(), "safe.directory "+r.dir) {
		t.Error(err)
	}
}

func TestOpenFindsTheRepository(t *testing.T) {
	t.Parallel()
	bare := lineRepo(t)
	clone := filepath.Join(t.TempDir(), "clone")
	bare.git("clone", "-q", bare.dir, clone)
	cloned := &repo{t: t, dir: clone}
	linked := filepath.Join(t.TempDir(), "linked")
	cloned.git("worktree", "add", "-q", "--detach", linked, "HEAD~1")
	sub := filepath.Join(clone, "some", "folder")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(clone, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]history.Origin{
		bare.dir: {Source: "git", ExternalID: bare.dir, Name: "widgets"},
		clone:    {Source: "git", ExternalID: filepath.Join(clone, ".git"), Name: "widgets"}, // by its remote
		sub:      {Source: "git", ExternalID: filepath.Join(clone, ".git"), Name: "widgets"},
		link:     {Source: "git", ExternalID: filepath.Join(clone, ".git"), Name: "widgets"},
		linked:   {Source: "git", ExternalID: filepath.Join(clone, ".git"), Name: "widgets"},
	} {
		if got := open(t, path).Origin(); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	// A history that names no main line ends where the repository itself stands.
	cloned.git("checkout", "-q", "-b", "trunk")
	cloned.git("branch", "-q", "-D", "main")
	cloned.git("remote", "remove", "origin")
	stands, err := open(t, clone).Refs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if from, err := open(t, linked).Refs(t.Context()); err != nil || !bytes.Equal(from.Main, stands.Main) {
		t.Errorf("from a linked work tree the main line ends at %x, %v; want %x", from.Main, err, stands.Main)
	}
	for url, want := range map[string]string{
		"git@host.example:team/gadgets.git": "gadgets",
		"https://host.example/gears/":       "gears",
		"/":                                 "clone",
	} {
		cloned.git("config", "remote.origin.url", url)
		if got := open(t, clone).Origin().Name; got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	cloned.git("config", "--unset", "remote.origin.url")
	if got := open(t, clone).Origin().Name; got != "clone" {
		t.Errorf("without a remote: %q", got)
	}
}

// TestSettingsDoNotReachTheLog sets what changes git's output for people.
func TestSettingsDoNotReachTheLog(t *testing.T) {
	t.Parallel()
	r := lineRepo(t)
	want := commits(t, open(t, r.dir))
	for _, setting := range []string{
		"log.showSignature=true", "log.decorate=full", "log.follow=true", "log.mailmap=true", "log.showRoot=true", "log.date=relative",
		"log.abbrevCommit=true", "log.diffMerges=on", "color.ui=always", "color.log=always", "format.pretty=raw", "format.notes=true",
		"i18n.logOutputEncoding=ISO-8859-1", "core.pager=false", "gpg.program=false", "log.excludeDecoration=*", "core.quotePath=true",
	} {
		name, value, _ := strings.Cut(setting, "=")
		r.git("config", name, value)
	}
	r.git("config", "mailmap.file", filepath.Join(r.dir, "mailmap"))
	if err := os.WriteFile(filepath.Join(r.dir, "mailmap"), []byte("Mapped <mapped@widgets.example> <ada@widgets.example>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shas := r.git("rev-list", "main")
	tip, cutAt, root := shas[0], shas[1], shas[3]
	r.git("notes", "add", "-m", "A note", tip)
	// A replacement and a graft would cut the history.
	r.git("replace", tip, root)
	if err := os.WriteFile(filepath.Join(r.dir, "info", "grafts"), []byte(cutAt+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, commits(t, open(t, r.dir))); diff != "" {
		t.Error(diff)
	}
}

// TestHistoryIsThatOfHeadBranchesAndTags puts a commit on every kind of ref.
func TestHistoryIsThatOfHeadBranchesAndTags(t *testing.T) {
	t.Parallel()
	bare := newRepo(t)
	var plan []planned
	for i, name := range []string{"branch", "remote", "tag", "detached", "stash", "notes", "pull"} {
		plan = append(plan, planned{author: "Ada", subject: "On " + name, authored: base + int64(i), committed: base + int64(i)})
	}
	bare.fastImport(stream(plan, 0))
	bare.setRefs(map[string]int{"main": 0}, map[string]planTag{"anything": {commit: 2}})
	for ref, commit := range map[string]int{"refs/remotes/origin/x": 1, "refs/stash": 4, "refs/notes/commits": 5, "refs/pull/1/head": 6} {
		bare.git("update-ref", ref, fmt.Sprintf("refs/kept/%d", commit))
	}
	bare.git("update-ref", "--no-deref", "HEAD", "refs/kept/3")
	got := map[string]bool{}
	for _, c := range commits(t, open(t, bare.dir)) {
		got[c.Subject] = true
	}
	want := map[string]bool{"On branch": true, "On remote": true, "On tag": true, "On detached": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	r := lineRepo(t)
	r.git("tag", "-a", "-m", "annotated", "v2.0.0", "main")
	r.git("tag", "-a", "-m", "of a tag", "v2.1.0", "v2.0.0")
	r.git("tag", "-a", "-m", "of a tag of a tag", "v2.2.0", "v2.1.0")
	r.git("tag", "v3.0.0", "main^{tree}")
	r.git("tag", "-a", "-m", "of a tree", "v3.1.0", "main^{tree}")
	r.git("tag", "-a", "-m", "of a tag of a tree", "v3.2.0", "v3.1.0")
	r.git("tag", "latest", "main")
	r.git("tag", "tree", "main^{tree}")
	// A tag of before taggers were written down.
	old := r.command([]byte("object "+r.git("rev-parse", "main")[0]+"\ntype commit\ntag v0.9\n\nold\n"), "git", "-C", r.dir, "hash-object", "-t", "tag", "-w", "--literally", "--stdin")
	r.git("update-ref", "refs/tags/v0.9", strings.TrimSpace(old))
	refs, err := open(t, r.dir).Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, tag := range refs.Versions {
		got[tag.Name] = fmt.Sprintf("%x", tag.SHA)
		switch {
		case tag.Name == "v0.9" && !tag.At.IsZero(),
			strings.HasPrefix(tag.Name, "v2") && tag.At.Unix() != 1_600_000_000, // the tagger's
			tag.Name == "v1.1.0" && tag.At.Unix() != base+3*86_400:              // the commit's
			t.Errorf("%s was made at %s", tag.Name, tag.At)
		}
	}
	main, first := r.git("rev-parse", "main")[0], r.git("rev-parse", "main~2")[0]
	want := map[string]string{"v0.9": main, "v1.0.0": first, "v1.1.0": main, "v2.0.0": main, "v2.1.0": main, "v2.2.0": main}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if want := (history.Skipped{OtherTags: 2, NotCommits: 3}); refs.Skipped != want {
		t.Errorf("skipped %+v, want %+v", refs.Skipped, want)
	}
	// The old tag is deployed when its commit was made.
	db := postgres.Over(pgtest.Pool(t))
	importOf(t, db, newTeam(t, db, "UTC"), open(t, r.dir))
	if at := column(t, db, `SELECT extract(epoch FROM finished_at)::bigint::text FROM deployments WHERE ref = 'v0.9'`); len(at) != 1 || at[0] != fmt.Sprint(base+3*86_400) {
		t.Errorf("v0.9 was deployed at %v", at)
	}
}

func TestMainLine(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.fastImport(stream(line(6), 0))
	main := func() string {
		t.Helper()
		refs, err := open(t, r.dir).Refs(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", refs.Main)
	}
	if got := main(); got != "" {
		t.Errorf("an unborn branch is at %s", got)
	}
	// From the weakest sign to the strongest.
	for i, ref := range []string{"HEAD", "refs/remotes/origin/master", "refs/remotes/origin/main", "refs/heads/master", "refs/heads/main", "refs/remotes/origin/HEAD"} {
		target := r.git("rev-parse", fmt.Sprintf("refs/kept/%d", i))[0]
		if ref == "refs/remotes/origin/HEAD" {
			r.git("update-ref", "refs/remotes/origin/trunk", target)
			r.git("symbolic-ref", ref, "refs/remotes/origin/trunk")
		} else {
			r.git("update-ref", "--no-deref", ref, target)
		}
		if got := main(); got != target {
			t.Errorf("%s: the main line ends at %s, want %s", ref, got, target)
		}
	}
}

func TestSHA256Repository(t *testing.T) {
	t.Parallel()
	r := lineRepo(t, "--object-format=sha256")
	db := postgres.Over(pgtest.Pool(t))
	result := importOf(t, db, newTeam(t, db, "UTC"), open(t, r.dir))
	if result.Commits != 4 || result.Deployments != 2 || result.Changes != 2 {
		t.Errorf("imported %+v", result)
	}
	checkAgainstGit(t, db, r, result.Environment)
}

func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	db := postgres.Over(pgtest.Pool(t))
	team := newTeam(t, db, "UTC")
	result := importOf(t, db, team, open(t, r.dir))
	if result.Commits != 0 || result.Deployments != 0 || result.DeployedBy != history.ByCommit {
		t.Errorf("imported %+v", result)
	}
	if again := importOf(t, db, team, open(t, r.dir)); !again.Unchanged {
		t.Errorf("again: %+v", again)
	}
}

// TestStrangeCommits writes what git stores and nobody should.
func TestStrangeCommits(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	tree := strings.TrimSpace(r.command(nil, "git", "-C", r.dir, "hash-object", "-w", "-t", "tree", os.DevNull))
	long := "x" + strings.Repeat("é", 5_000) // a limit cuts a character in two
	for i, test := range []struct{ author, date, message, encoding, name, email, subject, authored string }{
		{author: "A <a@x.example>", date: "1600000000 +0000", message: "", name: "A", email: "a@x.example", subject: "", authored: "1600000000"},
		{author: "\xff\xfe <\xff@x>", date: "1600000000 +0000", message: "bad \xff\xfe bytes", name: "\uFFFD", email: "\uFFFD@x", subject: "bad \uFFFD bytes", authored: "1600000000"},
		{author: "J\xf8rn <j@x>", date: "1600000000 +0000", message: "gr\xf8d", encoding: "ISO-8859-1", name: "Jørn", email: "j@x", subject: "grød", authored: "1600000000"},
		{author: "Z <z@x>", date: "1600000000 +0000", message: "odd", encoding: "no-such-encoding", name: "Z", email: "z@x", subject: "odd", authored: "1600000000"},
		{author: "B <b@x>", date: "0 +0000", message: "the epoch", name: "B", email: "b@x", subject: "the epoch", authored: "86400"},
		{author: "B <b@x>", date: "-62135596800 +0000", message: "year one", name: "B", email: "b@x", subject: "year one", authored: "86400"},
		{author: "B <b@x>", date: "253402300799 +0000", message: "year 9999", name: "B", email: "b@x", subject: "year 9999", authored: "4102272000"},
		{author: "B <b@x>", date: "99999999999999999999999 +0000", message: "beyond", name: "B", email: "b@x", subject: "beyond", authored: "4102272000"},
		{author: "B <b@x>", date: "18446744073709551615 +9999", message: "all bits", name: "B", email: "b@x", subject: "all bits", authored: "4102272000"},
		{author: "B <b@x>", date: "yesterday", message: "no date", name: "B", email: "b@x", subject: "no date", authored: "86400"},
		{author: "<>", date: "1600000000 +0000", message: "nobody", name: "", email: "", subject: "nobody", authored: "1600000000"},
		{author: long + " <l@x>", date: "1600000000 +0000", message: long + "\n\nmore", name: long[:199], email: "l@x", subject: long[:999], authored: "1600000000"},
		{author: "B <b@x>", date: "1600000000 +0000", message: "two\nlines \x1b[31mred\n\nbody", name: "B", email: "b@x", subject: "two lines \x1b[31mred", authored: "1600000000"},
	} {
		raw := "tree " + tree + "\nauthor " + test.author + " " + test.date + "\ncommitter C <c@x> 1600000000 +0000\n"
		if test.encoding != "" {
			raw += "encoding " + test.encoding + "\n"
		}
		sha := r.command([]byte(raw+"\n"+test.message), "git", "-C", r.dir, "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
		r.git("update-ref", fmt.Sprintf("refs/heads/b%d", i), strings.TrimSpace(sha))
		for _, c := range commits(t, open(t, r.dir)) {
			if fmt.Sprintf("%x", c.SHA) != strings.TrimSpace(sha) {
				continue
			}
			got := []string{c.Author.Name, c.Author.Email, c.Subject, fmt.Sprint(c.Authored.Unix())}
			if diff := cmp.Diff([]string{test.name, test.email, test.subject, test.authored}, got); diff != "" {
				t.Errorf("%q: %s", test.message, diff)
			}
		}
	}
	db := postgres.Over(pgtest.Pool(t))
	// The furthest zones: a day moves by as much as it can.
	for _, zone := range []string{"Pacific/Kiritimati", "Etc/GMT+12", "Africa/Monrovia"} {
		result := importOf(t, db, newTeam(t, db, zone), open(t, r.dir))
		if result.Commits != 13 {
			t.Errorf("imported %+v", result)
		}
	}
	if out := column(t, db, `SELECT day::text FROM dirty_days WHERE day NOT BETWEEN '1970-01-01' AND '2099-12-31'`); len(out) != 0 {
		t.Errorf("days out of range: %v", out)
	}
}

// TestTagsWithoutUTF8 keeps two tags apart whose names are no text.
func TestTagsWithoutUTF8(t *testing.T) {
	t.Parallel()
	r := lineRepo(t)
	r.git("update-ref", "refs/tags/v9.0-\xff", "main")
	r.git("update-ref", "refs/tags/v9.0-\xfe", "main")
	any, err := history.Open(context.Background(), r.dir, regexp.MustCompile(`^v9`))
	if err != nil {
		t.Fatal(err)
	}
	db := postgres.Over(pgtest.Pool(t))
	importOf(t, db, newTeam(t, db, "UTC"), any)
	if diff := cmp.Diff([]string{`v9.0-\xfe`, `v9.0-\xff`}, column(t, db, `SELECT ref FROM deployments ORDER BY 1`)); diff != "" {
		t.Error(diff)
	}
}

// TestBrokenRepository loses an object that the history needs.
func TestBrokenRepository(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.command([]byte(stream(line(4), 0)), "git", "-C", r.dir, "-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet", "--date-format=raw-permissive")
	r.setRefs(map[string]int{"main": 3}, nil)
	source := open(t, r.dir)
	sha := r.git("rev-parse", "main~1")[0]
	if err := os.Remove(filepath.Join(r.dir, "objects", sha[:2], sha[2:])); err != nil {
		t.Fatal(err)
	}
	db := postgres.Over(pgtest.Pool(t))
	_, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), source, nil)
	if err == nil || !strings.Contains(err.Error(), r.dir) || !strings.Contains(err.Error(), sha) {
		t.Errorf("want what git says, got %v", err)
	}
	if left := column(t, db, `SELECT name FROM repositories`); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), source, nil); err == nil {
		t.Error("a repository that is gone was imported")
	}
	if _, err := source.Count(context.Background(), [][]byte{make([]byte, 20)}); err == nil {
		t.Error("a repository that is gone was counted")
	}
}

// TestLogStops leaves the log early, and leaves no process behind.
func TestLogStops(t *testing.T) {
	t.Parallel()
	source := open(t, makeHistory(t, 5_000, 0))
	refs, err := source.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, err := range source.Log(context.Background(), refs.Tips) {
		if seen++; seen == 10 || err != nil {
			break
		}
	}
	if seen != 10 {
		t.Errorf("%d commits", seen)
	}
	for range source.Log(context.Background(), nil) {
		t.Error("nothing reaches a commit")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for c, err := range source.Log(ctx, refs.Tips) {
		if c != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v, %v", c, err)
		}
	}
}

// TestGitThatPrintsNonsense puts a program in git's place that prints what git
// never should.
func TestGitThatPrintsNonsense(t *testing.T) {
	r := lineRepo(t)
	r.git("tag", "-a", "-m", "inner", "v2.0.0", "main")
	r.git("tag", "-a", "-m", "outer", "v2.1.0", "v2.0.0")
	source := open(t, r.dir)
	refs, err := source.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	real := strings.TrimSpace(r.command(nil, "sh", "-c", "command -v git"))
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for verb, want := range map[string]string{"for-each-ref": "cannot be read", "cat-file": "unresolved", "rev-parse": "where a sha should be", "log": "ends within a commit", "rev-list": "invalid syntax"} {
		for _, act := range []string{"echo nonsense", "exit 3"} {
			script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" %s \"*) %s; exit;; esac\nexec %s \"$@\"\n", verb, act, real)
			if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			says := want
			if act != "echo nonsense" {
				says = "exit status 3"
			}
			_, err := source.Refs(context.Background())
			if verb == "log" {
				for _, err = range source.Log(context.Background(), refs.Tips) {
				}
			}
			if verb == "rev-list" {
				_, err = source.Count(context.Background(), refs.Tips)
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s, %s: %v", verb, act, err)
			}
		}
	}
}

func TestDefaultVersions(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]bool{
		"v1.2.3": true, "V1.2": true, "1.2.3": true, "0.0.1": true, "2024.05.1": true, "v1.2.3.4": true, "release-1.2": true,
		"release/v2.0.0": true, "v1.2.3+build.5": true, "v10.20.30": true,
		"v1": false, "1": false, "v1.2.3-rc.1": false, "v1.2.3-beta": false, "v1.2.3rc1": false, "module/v1.2.3": false, "cmd/tool/v0.1.0": false,
		"latest": false, "nightly-1.2.3": false, "pkg@1.2.3": false, "v1.": false, "v.1": false, "xv1.2": false, "v1.2\n": false, "": false,
	} {
		if got := versions.MatchString(tag); got != want {
			t.Errorf("%q: %v", tag, got)
		}
	}
}
