package functions_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// read decodes a YAML file of the house into v, which must know every field.
func read(t *testing.T, path string, v any) string {
	t.Helper()
	text, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return string(text)
}

func TestCloudBuildDeploysWhatIsStaged(t *testing.T) {
	t.Parallel()
	var build struct {
		Steps []struct {
			ID, Name, Entrypoint, Dir string
			Args, Env                 []string
		}
		Substitutions map[string]string
		Options       struct{ Logging string }
		Timeout       string
	}
	text := read(t, "cloudbuild.yaml", &build)
	var order []string
	steps := map[string]string{}
	for _, s := range build.Steps {
		order = append(order, s.ID)
		steps[s.ID] = strings.Join(append([]string{s.Entrypoint, s.Dir}, slices.Concat(s.Env, s.Args)...), " ")
	}
	if got := strings.Join(order, " "); got != "stage verify deploy smoke promote" {
		t.Errorf("the steps are %s", got)
	}
	for id, want := range map[string][]string{
		"stage":   {"./shared/function/stage/cmd -function ${_FUNCTION} -out dist/${_FUNCTION}"},
		"verify":  {"dist/${_FUNCTION}", "GOPROXY=off", "-mod=vendor"},
		"deploy":  {"--source=dist/${_FUNCTION}", "--function=${_TARGET}", "--no-traffic", "shared/function.release=${_COMMIT}", "--tag=candidate"},
		"smoke":   {"$$candidate/live", `"release":"${_COMMIT}"`},
		"promote": {"update-traffic ${_FUNCTION}", "--to-latest"},
	} {
		for _, part := range want {
			if !strings.Contains(steps[id], part) {
				t.Errorf("the step %s lacks %s: %s", id, part, steps[id])
			}
		}
	}
	if build.Options.Logging != "CLOUD_LOGGING_ONLY" {
		t.Errorf("logging is %q", build.Options.Logging)
	}
	// Settings, accounts and access are Terraform's.
	for _, flag := range []string{"allow-unauthenticated", "env-vars=_", "--set-env-vars", "--service-account=", "--memory", "--concurrency"} {
		if strings.Contains(steps["deploy"], flag) {
			t.Errorf("the deployment changes the service's shape with %s", flag)
		}
	}
	for _, s := range regexp.MustCompile(`\$\{(_[A-Z]+)\}`).FindAllStringSubmatch(text, -1) {
		if build.Substitutions[s[1]] == "" && !strings.Contains(text, s[1]+"=") {
			t.Errorf("nobody says what %s is", s[1])
		}
	}
	// The example in the comment is one that works.
	if fn := functions.All[0].Name; !strings.Contains(text, fmt.Sprintf("_FUNCTION=%s,_TARGET=%s,", fn, stage.Target(fn))) {
		t.Errorf("the example does not deploy %s", fn)
	}
}

// TestReadmeNamesTheTestCommand holds what .ci/run reads from the README.
func TestReadmeNamesTheTestCommand(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile("(?m)^```sh\ngo test \\./\\.\\.\\.\n```$").Match(text) {
		t.Error("the README has no fenced line: go test ./...")
	}
}
