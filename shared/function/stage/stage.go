// Package stage lays out the source of one function as Google's buildpack for Go
// wants it: a root package that registers the function, only what the function
// imports, and every module vendored, so that what is uploaded is all that is
// built and can be built offline. Uploading it is left to the deployment.
//
// The buildpack's rules stand in its source:
// https://github.com/GoogleCloudPlatform/buildpacks/blob/main/cmd/go/functions_framework/lib/lib.go
package stage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Target returns the entry point of the function with this name: what gcloud's
// --function takes.
func Target(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// Tags are the build tags that a function is compiled with. grpcnotrace leaves out
// gRPC's pages about its requests, which nothing serves, and the templates for them:
// https://github.com/grpc/grpc-go/blob/master/trace_notrace.go
const Tags = "grpcnotrace"

// Staged is what was laid out.
type Staged struct {
	Digest string // sha256 over the names and contents of all files
	Files  int
	Bytes  int64
}

// Stage lays out the function called name, of the module that dir lies in, in
// the folder out. The same source gives the same digest. out is made when it is
// missing and emptied when it was made by Stage; any other folder that holds
// something is refused.
func Stage(ctx context.Context, dir, name, out string) (Staged, error) {
	root, module, err := moduleOf(ctx, dir)
	if err != nil {
		return Staged{}, err
	}
	if err := check(root, name); err != nil {
		return Staged{}, err
	}
	packages, err := deps(ctx, root, module, "./functions/"+name)
	if err != nil {
		return Staged{}, err
	}
	if err := clear(out); err != nil {
		return Staged{}, err
	}
	// First, so that a run that breaks off can be repeated.
	if err := write(filepath.Join(out, ignoreName), []byte(ignore)); err != nil {
		return Staged{}, err
	}
	for _, file := range append([]string{"go.mod", "go.sum"}, files(root, packages)...) {
		if err := copyFile(filepath.Join(root, file), filepath.Join(out, file)); err != nil {
			return Staged{}, err
		}
	}
	if err := write(filepath.Join(out, "function.go"), entry(module, name)); err != nil {
		return Staged{}, err
	}
	if _, err := run(ctx, out, "go", "mod", "vendor"); err != nil {
		return Staged{}, err
	}
	return digest(out)
}

// check refuses a name that is not one of the functions.
func check(root, name string) error {
	found, _ := filepath.Glob(filepath.Join(root, "functions", "*", "cmd")) // the pattern is good
	var names []string
	for _, folder := range found {
		names = append(names, filepath.Base(filepath.Dir(folder)))
	}
	if !slices.Contains(names, name) {
		return fmt.Errorf("there is no function %q; there are %s", name, strings.Join(names, ", "))
	}
	return nil
}

// goPackage is what go list tells about a package.
type goPackage struct {
	Dir                                           string
	GoFiles, EmbedFiles, SFiles, HFiles, CgoFiles []string
	Module                                        *struct{ Path string }
}

func moduleOf(ctx context.Context, dir string) (root, module string, err error) {
	text, err := run(ctx, dir, "go", "list", "-m", "-json=Dir,Path")
	if err != nil {
		return "", "", err
	}
	var m struct{ Dir, Path string }
	if err := json.Unmarshal(text, &m); err != nil || m.Dir == "" {
		return "", "", fmt.Errorf("%s lies in no Go module", dir)
	}
	return m.Dir, m.Path, nil
}

// deps returns the package at path and those of our module that it imports.
func deps(ctx context.Context, root, module, path string) ([]goPackage, error) {
	text, err := run(ctx, root, "go", "list", "-deps", "-json=Dir,GoFiles,EmbedFiles,SFiles,HFiles,CgoFiles,Module", path)
	if err != nil {
		return nil, err
	}
	var ours []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var p goPackage
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return ours, nil
		case err != nil:
			return nil, err
		case p.Module != nil && p.Module.Path == module:
			ours = append(ours, p)
		}
	}
}

// Sources lists the files of our module that the package at path, such as
// ./functions/auth, is built from, relative to the module's root.
func Sources(ctx context.Context, dir, path string) ([]string, error) {
	root, module, err := moduleOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	packages, err := deps(ctx, root, module, path)
	if err != nil {
		return nil, err
	}
	return files(root, packages), nil
}

// files lists what the packages are built from, relative to root. Tests are not
// among them.
func files(root string, packages []goPackage) []string {
	var all []string
	for _, p := range packages {
		folder, _ := filepath.Rel(root, p.Dir) // both are absolute
		for _, name := range slices.Concat(p.GoFiles, p.EmbedFiles, p.SFiles, p.HFiles, p.CgoFiles) {
			all = append(all, filepath.Join(folder, name))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// entry is the root package. The buildpack writes a main that imports it and
// starts the framework, and takes that path only where the root package itself
// imports the framework's package functions. funcframework is imported so that
// it is vendored, which the buildpack insists on.
func entry(module, name string) []byte {
	return fmt.Appendf(nil, `// Package staged registers the function %[2]s. Written by shared/function/stage.
package staged

import (
	_ "github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"%[1]s/functions/%[2]s"
	"%[1]s/shared/function"
)

func init() { functions.HTTP(%[3]q, function.Entry(%[2]s.Function)) }
`, module, name, Target(name))
}

// ignoreName is the file that says what gcloud does not upload. Without one,
// gcloud goes by .gitignore, which may name vendor. It also marks a folder as
// made by Stage.
const (
	ignoreName = ".gcloudignore"
	ignore     = "# Written by shared/function/stage: all of this is uploaded.\n"
)

// clear makes sure that out is an empty folder.
func clear(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if mark, err := os.ReadFile(filepath.Join(out, ignoreName)); err != nil || string(mark) != ignore {
			return fmt.Errorf("%s holds files that were not staged; name an empty folder or remove it", out)
		}
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(out, e.Name())); err != nil {
			return err
		}
	}
	return os.MkdirAll(out, 0o755)
}

func write(path string, content []byte) error {
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, content, 0o644)
	}
	return err
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(to, content)
}

// run runs a command in dir, for the machine that the buildpack builds for and
// against what go.mod says, whatever the caller's environment.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=mod")
	var problem bytes.Buffer
	command.Stderr = &problem
	text, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, cmp.Or(strings.TrimSpace(problem.String()), "no output"))
	}
	return text, nil
}
