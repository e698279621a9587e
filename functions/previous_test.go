package functions_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changeOf makes a repository whose function reads the table that its migrations make:
// the main branch, and a change of it.
func changeOf(t *testing.T, change map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	script := page(t, ".ci/previous")
	write := func(files map[string]string) {
		for name, text := range files {
			path := filepath.Join(dir, name)
			if text == "" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	git := func(args ...string) {
		command := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.com"}, args...)...)
		if text, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v: %s", args, err, text)
		}
	}
	write(map[string]string{
		".ci/previous":               script,
		"go.mod":                     "module example.com/house\n\ngo 1.26.0\n",
		"migrations/0001_users.sql":  "CREATE users name\n",
		"migrations/grants.sql":      "GRANT users name\n",
		"functions/auth/cmd/main.go": "package main\n\nfunc main() {}\n",
		"functions/auth/auth_test.go": `package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamesAreRead(t *testing.T) {
	files, _ := filepath.Glob("../../migrations/*.sql")
	all := ""
	for _, file := range files {
		text, _ := os.ReadFile(file)
		all += string(text)
	}
	if !strings.Contains(all, "GRANT users name") || strings.Contains(all, "DROP") {
		t.Error(all)
	}
}

func TestEachGrantIsNeeded(t *testing.T) { t.Error("not with the grants of another release") }
`,
	})
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "before")
	git("checkout", "-q", "-b", "change")
	// The functions of the change know the new schema; it is not they that are tried.
	write(map[string]string{"functions/auth/auth_test.go": "package auth\n"})
	write(change)
	git("add", "-A")
	git("commit", "-q", "-m", "change")
	git("checkout", "-q", "main")
	write(map[string]string{"later": "x"})
	git("add", "-A")
	git("commit", "-q", "-m", "later")
	git("checkout", "-q", "change")
	return dir
}

func TestMigrationsMeetTheFunctionsOfBefore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change map[string]string
		base   string
		well   bool
		says   string
	}{
		"none":                   {map[string]string{"README.md": "x"}, "main", true, "no migration and no grant differs"},
		"one that adds":          {map[string]string{"migrations/0002_more.sql": "ADD\n"}, "main", true, "ok  \texample.com/house/functions/auth"},
		"one that takes away":    {map[string]string{"migrations/0002_less.sql": "DROP\n"}, "main", false, "do not work on the schema of this change: add first"},
		"a right less":           {map[string]string{"migrations/grants.sql": "GRANT nothing\n"}, "main", false, "add first"},
		"one that was applied":   {map[string]string{"migrations/0001_users.sql": "CREATE users name, more\n"}, "main", false, "applied already, and what changes in them never is: migrations/0001_users.sql"},
		"one that is taken back": {map[string]string{"migrations/0001_users.sql": ""}, "main", false, "applied already"},
		"nothing to compare":     {map[string]string{"migrations/0002_more.sql": "ADD\n"}, "nowhere", false, "fetch all of the history"},
		"no commit":              {nil, "", false, "say which commit came before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := changeOf(t, test.change)
			command := exec.CommandContext(t.Context(), filepath.Join(dir, ".ci", "previous"), strings.Fields(test.base)...)
			text, err := command.CombinedOutput()
			if (err == nil) != test.well || !strings.Contains(string(text), test.says) {
				t.Errorf("%v: %s", err, text)
			}
			left, err := exec.CommandContext(t.Context(), "git", "-C", dir, "worktree", "list").Output()
			if err != nil || strings.Count(string(left), "\n") != 1 {
				t.Errorf("left behind is %s, %v", left, err)
			}
		})
	}
	if !regexp.MustCompile(`(?m)^ +run: \.ci/previous "origin/\$BASE"$`).MatchString(page(t, ".github/workflows/ci.yml")) {
		t.Error("nothing runs .ci/previous")
	}
}
