package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// house is a module with two functions, of which one embeds a folder, and the job
// that migrates.
type house struct {
	t   *testing.T
	dir string
}

func newHouse(t *testing.T) house {
	t.Helper()
	h := house{t, t.TempDir()}
	h.git("init", "-q", "-b", "main")
	h.write("go.mod", "module example.com/house\n\ngo 1.26.0\n")
	h.write("infra/functions.json", `{"functions":[{"name":"web"},{"name":"auth"}]}`)
	h.write("README.md", "read me\n")
	h.write("functions/auth/auth.go", "package auth\n\nimport _ \"example.com/house/shared/token\"\n")
	h.write("functions/auth/auth_test.go", "package auth\n")
	h.write("functions/auth/old.go", "package auth\n")
	h.write("functions/web/web.go", "package web\n\nimport (\n\t\"embed\"\n\n\t_ \"example.com/house/shared/mux\"\n)\n\n//go:embed page\nvar Page embed.FS\n")
	h.write("functions/web/page/a.html", "a\n")
	h.write("functions/web/page/b/c.html", "c\n")
	h.write("shared/token/token.go", "package token\n\nimport _ \"example.com/house/shared/mux\"\n")
	h.write("shared/token/testdata/token", "t\n")
	h.write("shared/mux/mux.go", "package mux\n")
	h.write("shared/alone/alone.go", "package alone\n")
	h.write("migrations/migrations.go", "package migrations\n\nimport \"embed\"\n\n//go:embed *.sql\nvar Files embed.FS\n")
	h.write("migrations/0001.sql", "SELECT 1;\n")
	h.write("migrations/cmd/main.go", "package main\n\nimport _ \"example.com/house/migrations\"\n\nfunc main() {}\n")
	h.commit()
	return h
}

func (h house) git(args ...string) string {
	h.t.Helper()
	command := exec.Command("git", append([]string{"-C", h.dir, "-c", "user.name=n", "-c", "user.email=e@example.com"}, args...)...)
	text, err := command.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %v: %v: %s", args, err, text)
	}
	return strings.TrimSpace(string(text))
}

func (h house) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		h.t.Fatal(err)
	}
}

func (h house) remove(name string) {
	h.t.Helper()
	if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h house) commit() string {
	h.t.Helper()
	h.git("add", "-A")
	h.git("commit", "-q", "--allow-empty", "-m", "change")
	return h.git("rev-parse", "HEAD")
}

// changed runs the command and returns what it prints.
func (h house) changed(base string) (code int, changes Changes, problem string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	code = Run(h.t.Context(), h.dir, []string{"-base", base}, &out, &errs)
	if code != 0 {
		return code, Changes{}, errs.String()
	}
	if err := json.Unmarshal(out.Bytes(), &changes); err != nil || strings.Count(out.String(), "\n") != 1 {
		h.t.Errorf("%q is not one line of JSON: %v", out.String(), err)
	}
	return code, changes, errs.String()
}

func TestAChangeTouchesWhatIsBuiltFromIt(t *testing.T) {
	t.Parallel()
	const everything = "web auth migrate"
	for name, test := range map[string]struct {
		change func(house)
		want   string
	}{
		"nothing":                     {func(house) {}, ""},
		"a page that nobody builds":   {func(h house) { h.write("README.md", "x") }, ""},
		"a package that nobody links": {func(h house) { h.write("shared/alone/alone.go", "package alone // x\n") }, ""},
		"a test":                      {func(h house) { h.write("functions/auth/auth_test.go", "package auth // x\n") }, ""},
		"a test that goes":            {func(h house) { h.remove("functions/auth/auth_test.go") }, ""},
		"a fixture that goes":         {func(h house) { h.remove("shared/token/testdata/token") }, ""},
		"its own file":                {func(h house) { h.write("functions/auth/auth.go", "package auth // x\n") }, "auth"},
		"a file more":                 {func(h house) { h.write("functions/auth/new.go", "package auth\n") }, "auth"},
		"a file less":                 {func(h house) { h.remove("functions/auth/old.go") }, "auth"},
		"a file that moved":           {func(h house) { h.git("mv", "functions/auth/old.go", "functions/auth/young.go") }, "auth"},
		"a page that moved out":       {func(h house) { h.write("docs/x", "x"); h.git("mv", "functions/web/page/a.html", "docs/a.html") }, "web"},
		"what one links":              {func(h house) { h.write("shared/token/token.go", "package token\n") }, "auth"},
		"what all link":               {func(h house) { h.write("shared/mux/mux.go", "package mux // x\n") }, "web auth"},
		"an embedded file":            {func(h house) { h.write("functions/web/page/a.html", "x") }, "web"},
		"an embedded file more":       {func(h house) { h.write("functions/web/page/d.html", "x") }, "web"},
		"an embedded file less":       {func(h house) { h.remove("functions/web/page/b/c.html") }, "web"},
		"a migration":                 {func(h house) { h.write("migrations/0002.sql", "SELECT 2;") }, "migrate"},
		"a module":                    {func(h house) { h.write("go.mod", "module example.com/house\n\ngo 1.26.0\n\n// x\n") }, everything},
		"a sum":                       {func(h house) { h.write("go.sum", "\n") }, everything},
		"the way it is deployed":      {func(h house) { h.write(".github/workflows/deploy.yml", "x") }, everything},
		"another workflow":            {func(h house) { h.write(".github/workflows/ci.yml", "x") }, ""},
		"the way it is staged":        {func(h house) { h.write("shared/function/stage/stage.go", "package stage\n") }, everything},
		"the way it is released":      {func(h house) { h.write("infra/release/release.go", "package main\n") }, everything},
		"a test of how it is staged":  {func(h house) { h.write("shared/function/stage/stage_test.go", "package stage\n") }, ""},
		"a manifest in another order": {func(h house) { h.write("infra/functions.json", `{"functions":[{"name":"auth"},{"name":"web"}]}`) }, ""},
		"a name that git would quote": {func(h house) { h.write("functions/web/page/ä.html", "x") }, "web"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			base := h.git("rev-parse", "HEAD")
			test.change(h)
			h.commit()
			code, changes, problem := h.changed(base)
			got := changes.Functions
			if changes.Migrate {
				got = append(got, "migrate")
			}
			if code != 0 || strings.Join(got, " ") != test.want {
				t.Errorf("exit code %d, %q, want %q: %s", code, got, test.want, problem)
			}
			if (test.want == everything) != strings.HasPrefix(problem, "everything: changed is ") {
				t.Errorf("it says %q", problem)
			}
		})
	}
}

func TestWhatCannotBeComparedHasChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := Changes{Functions: []string{"web", "auth"}, Migrate: true}
	for _, base := range []string{"", strings.Repeat("0", 40), "nowhere", "--output=x", h.git("rev-parse", "HEAD:README.md")} {
		code, changes, problem := h.changed(base)
		if code != 0 || !cmp.Equal(changes, all) || !strings.HasPrefix(problem, "everything: ") {
			t.Errorf("since %q: exit code %d, %+v, %s", base, code, changes, problem)
		}
	}
	if code, changes, _ := h.changed("HEAD"); code != 0 || changes.Migrate || changes.Functions == nil || len(changes.Functions) > 0 {
		t.Errorf("since now: exit code %d, %+v", code, changes)
	}
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	run := func(dir string, args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := Run(t.Context(), dir, args, &out, &errs)
		if out.Len() > 0 {
			t.Errorf("%v prints %s", args, out.String())
		}
		return code, errs.String()
	}
	if code, said := run(".", "-what"); code != 2 || !strings.Contains(said, "-base") {
		t.Errorf("an unknown flag: %d %s", code, said)
	}
	if code, said := run(".", "abc"); code != 2 || !strings.Contains(said, "changed -base COMMIT") {
		t.Errorf("a commit without its flag: %d %s", code, said)
	}
	if code, said := run(t.TempDir()); code != 1 || !strings.Contains(said, "at the root of the repository") {
		t.Errorf("elsewhere: %d %s", code, said)
	}
	for name, breaks := range map[string]func(house){
		"print it again": func(h house) { h.write("infra/functions.json", "{") },
		"functions/gone": func(h house) { h.write("infra/functions.json", `{"functions":[{"name":"gone"}]}`) },
		"migrations/cmd": func(h house) { h.remove("migrations/cmd/main.go"); h.remove("migrations/migrations.go") },
		"bad revision":   func(h house) { h.remove(".git/refs/heads/main") },
	} {
		h := newHouse(t)
		base := h.git("rev-parse", "HEAD")
		breaks(h)
		if code, said := run(h.dir, "-base", base); code != 1 || !strings.Contains(said, name) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	if printed(broken{}, Changes{}) != 1 {
		t.Error("it says nothing of an output that is closed")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

// TestThisHouseCanBeAsked holds that what the command needs of this repository is
// there.
func TestThisHouseCanBeAsked(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := Run(t.Context(), "../..", []string{"-base", "HEAD"}, &out, &errs); code != 0 || out.String() != "{\"functions\":[],\"migrate\":false}\n" {
		t.Errorf("exit code %d, %s%s", code, out.String(), errs.String())
	}
}
