package stage_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// lay makes files in a folder of the test's own.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// house is a module with two functions, without what change takes away.
func house(t *testing.T, change map[string]string) string {
	t.Helper()
	files := map[string]string{
		"go.mod":                       "module example.com/house\n\ngo 1.26.0\n",
		"go.sum":                       "",
		"functions/auth/cmd/main.go":   "package main\n",
		"functions/auth/auth.go":       "package auth\n",
		"functions/health/cmd/main.go": "package main\n",
		"functions/dev/dev.go":         "package main\n",
	}
	for name, content := range change {
		if files[name] = content; content == "" {
			delete(files, name)
		}
	}
	return lay(t, files)
}

// TestStageOfARealFunction stages the lightest of this module's functions. That
// each can be built and answers is tested beside them.
func TestStageOfARealFunction(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "dist", "web")
	var text, errs bytes.Buffer
	if code := stage.Run(t.Context(), []string{"-function", "web", "-out", out}, &text, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if got := text.String(); !strings.HasPrefix(got, "sha256:") || !strings.Contains(got, "(--function Web, ") {
		t.Errorf("it says %q", got)
	}
	var top []string
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		top = append(top, e.Name())
	}
	if diff := cmp.Diff([]string{".gcloudignore", "function.go", "functions", "go.mod", "go.sum", "infra", "shared", "vendor"}, top); diff != "" {
		t.Error(diff)
	}
	entry, err := os.ReadFile(filepath.Join(out, "function.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"github.com/devops-dashboard/dashboard/functions/web"`,
		`_ "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"`,
		`func init() { functions.HTTP("Web", function.Entry(web.Function)) }`,
	} {
		if !strings.Contains(string(entry), want) {
			t.Errorf("the entry lacks %s:\n%s", want, entry)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "functions/web/openapi.json")); err != nil {
		t.Error("what the function embeds is not staged")
	}

	// What an earlier run left is gone, and the digest sees every change.
	stale := filepath.Join(out, "functions", "stale.go")
	if err := os.WriteFile(stale, []byte("package stale\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := stage.Stage(t.Context(), ".", "web", out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("a stale file was kept")
	}
	if !strings.HasPrefix(text.String(), again.Digest+" ") {
		t.Errorf("digest %s, then %s", text.String(), again.Digest)
	}
}

func TestStageRefuses(t *testing.T) {
	t.Parallel()
	empty := func(t *testing.T) string { return filepath.Join(t.TempDir(), "out") }
	full := func(t *testing.T) string { return lay(t, map[string]string{"thesis.txt": "years of work"}) }
	for name, test := range map[string]struct {
		dir, out func(t *testing.T) string
		name     string
		want     string
	}{
		"an unknown function":   {func(t *testing.T) string { return house(t, nil) }, empty, "atuh", `there is no function "atuh"; there are auth, health`},
		"no folder":             {func(t *testing.T) string { return filepath.Join(t.TempDir(), "lost") }, empty, "auth", "go list -m"},
		"a folder that is none": {func(t *testing.T) string { return house(t, nil) }, empty, "dev", `there is no function "dev"`},
		"no module":             {func(t *testing.T) string { return t.TempDir() }, empty, "auth", "lies in no Go module"},
		"a package that is lost": {func(t *testing.T) string {
			return house(t, map[string]string{"functions/auth/auth.go": "package auth\n\nimport _ \"example.com/house/lost\"\n"})
		}, empty, "auth", "example.com/house/lost"},
		"no sums":                 {func(t *testing.T) string { return house(t, map[string]string{"go.sum": ""}) }, empty, "auth", "go.sum"},
		"a framework not to have": {func(t *testing.T) string { return house(t, map[string]string{"go.sum": "\n"}) }, empty, "auth", "functions-framework-go"},
		"a folder of one's own":   {func(t *testing.T) string { return house(t, nil) }, full, "auth", "holds files that were not staged"},
		"a file for a folder":     {func(t *testing.T) string { return house(t, nil) }, func(t *testing.T) string { return filepath.Join(full(t), "thesis.txt") }, "auth", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := test.out(t)
			_, err := stage.Stage(t.Context(), test.dir(t), test.name, out)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Stage: %v, want it to say %q", err, test.want)
			}
			if thesis, err := os.ReadFile(filepath.Join(out, "thesis.txt")); err == nil && string(thesis) != "years of work" {
				t.Error("the folder was touched")
			}
		})
	}
}

func TestRunThatBreaksOffCanBeRepeated(t *testing.T) {
	t.Parallel()
	dir, out := house(t, map[string]string{"go.sum": "\n"}), t.TempDir()
	for range 2 {
		_, err := stage.Stage(t.Context(), dir, "auth", out)
		if err == nil || !strings.Contains(err.Error(), "functions-framework-go") {
			t.Fatalf("Stage: %v", err)
		}
	}
}

func TestStageEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stage.Stage(ctx, house(t, nil), "auth", filepath.Join(t.TempDir(), "out")); err == nil {
		t.Error("Stage went on")
	}
}

func TestCommandSaysHowItIsUsed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "-function auth"},
		{[]string{"-function", "auth", "more"}, 2, "-function auth"},
		{[]string{"-fn", "auth"}, 2, "flag provided but not defined"},
		{[]string{"-function", "atuh"}, 1, "there is no function"}, // and dist/atuh is not made
	} {
		var out, errs bytes.Buffer
		if code := stage.Run(t.Context(), test.args, &out, &errs); code != test.code || !strings.Contains(errs.String(), test.want) || out.Len() > 0 {
			t.Errorf("%v: exit code %d, says %s%s", test.args, code, &out, &errs)
		}
	}
	if _, err := os.Stat("dist"); !os.IsNotExist(err) {
		t.Error("a refused function made a folder")
	}
}

func TestNothingOfTheTestsIsStaged(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if _, err := stage.Stage(t.Context(), ".", "web", out); err != nil {
		t.Fatal(err)
	}
	var found []string
	err := fs.WalkDir(os.DirFS(out), ".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "_test.go") || slices.Contains(strings.Split(path, "/"), "pgtest") {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}
