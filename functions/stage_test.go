package functions_test

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// TestEveryFunctionBuildsAsStaged stages each function, does to it what Google's
// buildpack does, offline, and asks the result.
func TestEveryFunctionBuildsAsStaged(t *testing.T) {
	t.Parallel()
	for _, fn := range functions.All {
		t.Run(fn.Name, func(t *testing.T) {
			t.Parallel()
			app := t.TempDir()
			source := filepath.Join(app, "serverless_function_source_code")
			staged, err := stage.Stage(t.Context(), ".", fn.Name, source)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d files, %d bytes", staged.Files, staged.Bytes)
			holdsOnly(t, source, fn)
			main := buildpack(t, source)
			binary := build(t, source, "-mod=vendor", main)
			info, err := os.Stat(binary)
			if err != nil {
				t.Fatal(err)
			}
			if most := budgetOf(fn.Name).bytes; info.Size() > most {
				t.Errorf("the binary has %d bytes, %d are allowed", info.Size(), most)
			}
			if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
				t.Skip("the binary runs on linux/amd64 alone")
			}
			p := launch(t, binary, function.LivePath, append(settingsOf(fn), "FUNCTION_TARGET="+stage.Target(fn.Name))...)
			_, _, body := p.get(function.LivePath)
			if want := fmt.Sprintf(`{"functions":[%q],"release":%q}`+"\n", fn.Name, release); body != want {
				t.Errorf("it answers %s, want %s", body, want)
			}
			status, header, body := p.get("/nowhere")
			if status != 404 || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, "no_such_route") {
				t.Errorf("a wrong address is answered %d %s", status, body)
			}
			if got, most := p.resident(t), budgetOf(fn.Name).resident; got > most {
				t.Errorf("it holds %d bytes of memory, %d are allowed", got, most)
			}
		})
	}
}

// holdsOnly checks that nothing else is uploaded: no test, no other function.
func holdsOnly(t *testing.T, source string, fn function.Function) {
	t.Helper()
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s is a test", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	folders, err := os.ReadDir(filepath.Join(source, "functions"))
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) != 1 || folders[0].Name() != fn.Name {
		t.Errorf("functions holds %v", folders)
	}
}

// buildpack does what cmd/go/functions_framework of the buildpacks does once the
// source is moved, and returns the package to build.
func buildpack(t *testing.T, source string) string {
	t.Helper()
	// The root folder alone is parsed, tests included, and must be one package.
	//lint:ignore SA1019 the buildpack uses it
	packages, err := parser.ParseDir(token.NewFileSet(), source, nil, parser.ImportsOnly)
	if err != nil || len(packages) != 1 {
		t.Fatalf("the root holds the packages %v, %v", packages, err)
	}
	declarative := false
	for _, p := range packages {
		for _, file := range p.Files {
			for _, i := range file.Imports {
				declarative = declarative || i.Path.Value == `"github.com/GoogleCloudPlatform/functions-framework-go/functions"`
			}
		}
	}
	if !declarative {
		t.Fatal("the root package does not import functions: the buildpack would look for the function in it")
	}
	module := strings.TrimSpace(string(goTool(t, source, "list", "-m")))
	if first, _, _ := strings.Cut(module, "/"); !strings.Contains(first, ".") {
		t.Fatalf("the module's path has no dot in its first element: %s", module)
	}
	if _, err := os.Stat(filepath.Join(source, "vendor/github.com/GoogleCloudPlatform/functions-framework-go/funcframework")); err != nil {
		t.Fatal("the framework is not vendored whole")
	}
	main := filepath.Join(source, "functions.local", "app")
	if err := os.MkdirAll(main, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, `package main

import (
	"log"
	"os"

	_ %q

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
	if err := funcframework.Start(os.Getenv("PORT")); err != nil {
		log.Fatal(err)
	}
}
`, module)
	if err := os.WriteFile(filepath.Join(main, "main.go"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return main
}

// TestManifestIsReadable holds the names that Terraform, CI and cloudbuild.yaml
// read from the manifest.
func TestManifestIsReadable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../infra/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Functions []struct{ Name string }
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, f := range m.Functions {
		got = append(got, f.Name)
	}
	for _, fn := range functions.All {
		want = append(want, fn.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
