package functions_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/function/stage"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

const house = "github.com/devops-dashboard/dashboard"

// goPackage is what go list tells about a package of ours. Paths of ours are cut
// to what follows the module's.
type goPackage struct {
	ImportPath, Name, Doc              string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// under tells whether a package is folder or lies in it.
func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// tests are the packages that the tests of p import.
func (p goPackage) tests() []string { return slices.Concat(p.TestImports, p.XTestImports) }

// packages lists the packages of the house.
var packages = sync.OnceValue(func() []goPackage {
	var all []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(goList("-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,Deps", "./..."))))
	for decoder.More() {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			panic(err)
		}
		for _, paths := range [][]string{{p.ImportPath}, p.Imports, p.TestImports, p.XTestImports, p.Deps} {
			for i, path := range paths {
				paths[i] = strings.TrimPrefix(path, house+"/")
			}
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, house+"/")
		all = append(all, p)
	}
	return all
})

// goList runs go list at the root of the house. The cache of test results does
// not see what go list reads, so the folders are read here too.
func goList(args ...string) []byte {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "dist") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	command := exec.Command("go", append([]string{"list"}, args...)...)
	command.Dir = ".."
	text, err := command.Output()
	if err != nil {
		panic(fmt.Sprintf("go list %v: %v", args, err))
	}
	return text
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	helper := func(path string) bool { return strings.HasSuffix(path, "test") && under(path, "shared") }
	of := func(path string) string { // the function that a package belongs to
		rest, inside := strings.CutPrefix(path, "functions/")
		name, _, _ := strings.Cut(rest, "/")
		if !inside {
			return ""
		}
		return name
	}
	for _, p := range packages() {
		mine := of(p.ImportPath)
		for _, imported := range p.Imports {
			other := of(imported)
			switch {
			case other != "" && mine != "" && mine != "dev" && other != mine:
				t.Errorf("%s imports %s: functions meet in PostgreSQL, Redis and shared nouns", p.ImportPath, imported)
			case under(imported, "functions") && !under(p.ImportPath, "functions"):
				t.Errorf("%s imports %s: what is shared knows no function", p.ImportPath, imported)
			case imported == "functions" && mine != "dev":
				t.Errorf("%s imports the list of functions, which only functions/dev and tests may", p.ImportPath)
			case (helper(imported) || imported == "testing") && mine != "dev" && !helper(p.ImportPath):
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, imported)
			}
		}
		for _, imported := range p.tests() {
			if under(imported, "functions") && !under(p.ImportPath, "functions") {
				t.Errorf("a test of %s imports %s: what is shared knows no function", p.ImportPath, imported)
			}
		}
	}
}

func TestFaultKnowsNeitherHTTPNorSQL(t *testing.T) {
	t.Parallel()
	i := slices.IndexFunc(packages(), func(p goPackage) bool { return p.ImportPath == "shared/fault" })
	for _, path := range packages()[i].Deps {
		if strings.Contains(path, ".") || path == "net/http" || path == "database/sql" || under(path, "shared") {
			t.Errorf("shared/fault depends on %s", path)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, p := range packages() {
		opening := "Package " + p.Name + " "
		if p.Name == "main" {
			opening = "Command " + filepath.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(p.Doc, opening) {
			t.Errorf("%s: its comment begins %q, want %q", p.ImportPath, p.Doc, opening)
		}
	}
}

func TestEntryPointsDifferInNothingButTheName(t *testing.T) {
	t.Parallel()
	for _, fn := range functions.All {
		want := fmt.Sprintf(`// Command cmd serves the function %[1]s.
package main

import (
	"os"

	"%[2]s/functions/%[1]s"
	"%[2]s/shared/function"
)

func main() { os.Exit(function.Main(%[1]s.Function)) }
`, fn.Name, house)
		got, err := os.ReadFile(filepath.Join(fn.Name, "cmd", "main.go"))
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheListIsWhole(t *testing.T) {
	t.Parallel()
	var folders, listed []string
	for _, p := range packages() {
		if name, ok := strings.CutPrefix(p.ImportPath, "functions/"); ok && strings.HasSuffix(name, "/cmd") {
			folders = append(folders, strings.TrimSuffix(name, "/cmd"))
		}
	}
	for _, fn := range functions.All {
		listed = append(listed, fn.Name)
	}
	slices.Sort(listed)
	if diff := cmp.Diff(folders, listed); diff != "" {
		t.Errorf("folders with an entry point, and functions.All: %s", diff)
	}
}

func TestTopFoldersAreThoseOfThePlan(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{".ci", ".git", ".github", "dist", "docs", "functions", "infra", "migrations", "shared"}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(known, e.Name()) {
			t.Errorf("the folder %s is not of the plan", e.Name())
		}
	}
}

// What a function links, by module. A new line here is a decision: it costs
// every start of that function.
var (
	// frame is what serving through the functions framework and huma brings, and the
	// token with which a setting is read from Secret Manager.
	frame = []string{
		"cloud.google.com/go/functions", "github.com/GoogleCloudPlatform/functions-framework-go", "github.com/cloudevents/sdk-go/v2",
		"github.com/danielgtaylor/huma/v2", "github.com/getsentry/sentry-go", "github.com/go-json-experiment/json", "github.com/google/uuid", "github.com/json-iterator/go", "github.com/modern-go/concurrent",
		"github.com/modern-go/reflect2", "go.uber.org/atomic", "go.uber.org/multierr", "go.uber.org/zap",
		"cloud.google.com/go/compute/metadata",
	}
	// database is what PostgreSQL brings: the driver, the connector to Cloud SQL
	// and Secret Manager, both of them on Google's clients over gRPC.
	database = []string{
		"github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/pgx/v5", "github.com/jackc/puddle/v2",
		"cloud.google.com/go/auth", "cloud.google.com/go/auth/oauth2adapt", "cloud.google.com/go/cloudsqlconn", "cloud.google.com/go/compute/metadata",
		"cloud.google.com/go/iam", "cloud.google.com/go/monitoring", "cloud.google.com/go/secretmanager", "cloud.google.com/go/sql",
		"github.com/GoogleCloudPlatform/opentelemetry-operations-go/exporter/metric", "github.com/GoogleCloudPlatform/opentelemetry-operations-go/internal/resourcemapping",
		"github.com/cespare/xxhash/v2", "github.com/felixge/httpsnoop", "github.com/go-logr/logr", "github.com/go-logr/stdr", "github.com/golang/groupcache",
		"github.com/google/s2a-go", "github.com/googleapis/enterprise-certificate-proxy", "github.com/googleapis/gax-go/v2", "go.opencensus.io",
		"go.opentelemetry.io/auto/sdk", "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
		"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/log",
		"go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/sdk/metric", "go.opentelemetry.io/otel/trace",
		"golang.org/x/crypto", "golang.org/x/net", "golang.org/x/oauth2", "golang.org/x/sync", "golang.org/x/sys", "golang.org/x/text", "golang.org/x/time",
		"google.golang.org/api", "google.golang.org/genproto", "google.golang.org/genproto/googleapis/api", "google.golang.org/genproto/googleapis/rpc",
		"google.golang.org/grpc", "google.golang.org/protobuf",
	}
	links = map[string][]string{
		"auth":    slices.Concat(frame, database, []string{"github.com/golang-jwt/jwt/v5", "github.com/medama-io/go-useragent", "github.com/boyter/go-string", "github.com/redis/go-redis/v9", "github.com/sony/gobreaker/v2"}),
		"refresh": slices.Concat(frame, database, []string{"github.com/golang-jwt/jwt/v5", "github.com/redis/go-redis/v9", "github.com/sony/gobreaker/v2"}),
		"metrics": slices.Concat(frame, database, []string{"github.com/golang-jwt/jwt/v5", "github.com/DataDog/sketches-go", "github.com/redis/go-redis/v9", "github.com/sony/gobreaker/v2"}),
		"rollup":  slices.Concat(frame, database, []string{"github.com/golang-jwt/jwt/v5", "github.com/DataDog/sketches-go"}),
		"health":  slices.Concat(frame, database, []string{"github.com/redis/go-redis/v9"}),
		"web":     slices.Concat(frame, []string{"golang.org/x/sync", "golang.org/x/sys", "golang.org/x/text"}), // sync: the door asks for tokens one at a time; the others come with Sentry
	}
)

func TestFunctionsLinkOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	for _, fn := range functions.All {
		t.Run(fn.Name, func(t *testing.T) {
			t.Parallel()
			var modules []string
			for line := range strings.Lines(string(goList("-tags="+stage.Tags, "-deps", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", "./functions/"+fn.Name+"/cmd"))) {
				path, module, _ := strings.Cut(strings.TrimSpace(line), " ")
				if path == "testing" || path == "golang.org/x/net/trace" || path == "golang.org/x/crypto/argon2" && fn.Name != "auth" {
					t.Errorf("links %s", path)
				}
				if module != "" && module != house {
					modules = append(modules, module)
				}
			}
			slices.Sort(modules)
			may := slices.Clone(links[fn.Name])
			slices.Sort(may) // what several bring stands there as often
			if diff := cmp.Diff(slices.Compact(may), slices.Compact(modules)); diff != "" {
				t.Errorf("links other modules than it may: %s", diff)
			}
		})
	}
}

func TestSettingsMeanOneThingEverywhere(t *testing.T) {
	t.Parallel()
	known := map[string]function.Setting{}
	for _, fn := range functions.All {
		seen := map[string]bool{}
		for _, s := range function.Settings(fn) {
			if seen[s.Name] {
				t.Errorf("%s declares %s twice", fn.Name, s.Name)
			}
			seen[s.Name] = true
			if strings.Trim(s.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || s.Doc == "" {
				t.Errorf("%s: the setting %q is not in capitals, or says nothing", fn.Name, s.Name)
			}
			if s.Secret && s.Default != "" {
				t.Errorf("%s: the secret %s has a default", fn.Name, s.Name)
			}
			if s.Name == "DATABASE_POOL" {
				s.Default = "" // how many connections are enough differs with the work
			}
			if other, ok := known[s.Name]; ok && other != s {
				t.Errorf("%s declares %+v, another function %+v", fn.Name, s, other)
			}
			known[s.Name] = s
		}
	}
}

func TestFunctionsAreDeclaredWhole(t *testing.T) {
	t.Parallel()
	for _, fn := range functions.All {
		if fn.Timeout <= 0 || fn.Concurrency <= 0 || fn.MemoryMiB < 128 || !strings.HasSuffix(fn.Doc, ".") {
			t.Errorf("%s lacks a time limit, a concurrency, memory or a sentence", fn.Name)
		}
		routes := function.Routes(fn)
		if len(routes) == 0 {
			t.Errorf("%s serves nothing", fn.Name)
		}
		for _, s := range fn.Schedules {
			if !slices.ContainsFunc(routes, func(r httpapi.Route) bool { return r.Method == "POST" && r.Path == s.Path && r.Access == "scheduler" }) {
				t.Errorf("%s: the schedule %s calls %s, which is no route for the scheduler", fn.Name, s.Name, s.Path)
			}
		}
	}
}

func TestRoutesAreToldApartAndDescribed(t *testing.T) {
	t.Parallel()
	owners, ids := map[string]string{}, map[string]string{}
	for _, fn := range functions.All {
		for _, r := range function.Routes(fn) {
			route := r.Method + " " + r.Path
			if other, taken := owners[route]; taken {
				t.Errorf("%s is served by %s and %s", route, other, fn.Name)
			}
			owners[route] = fn.Name
		}
		for path, item := range function.OpenAPI(fn).Paths {
			for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
				if op == nil {
					continue
				}
				if op.OperationID == "" || op.Summary == "" || len(op.Tags) != 1 || len(op.Security) != 1 {
					t.Errorf("%s %s lacks an id, a summary, one tag or one access", op.Method, path)
				}
				if other, taken := ids[op.OperationID]; taken {
					t.Errorf("%s and %s are both called %s", path, other, op.OperationID)
				}
				ids[op.OperationID] = path
			}
		}
	}
}
