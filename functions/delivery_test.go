package functions_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/api/cloudbuild/v1"

	"github.com/devops-dashboard/dashboard/functions"
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

// built decodes a file of Cloud Build's into the API's own type, which must know
// every field of it.
func built(t *testing.T, path string) cloudbuild.Build {
	t.Helper()
	var tree any
	read(t, path, &tree)
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var build cloudbuild.Build
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&build); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return build
}

func TestCloudBuildTakesItsFiles(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"cloudbuild.yaml", "infra/migrate.yaml"} {
		build := built(t, path)
		// An account of one's own takes a log that says where it goes.
		if build.Options == nil || build.Options.Logging != "CLOUD_LOGGING_ONLY" || build.ServiceAccount != "" {
			t.Errorf("%s: the options are %+v, the account %q", path, build.Options, build.ServiceAccount)
		}
		if limit, err := time.ParseDuration(build.Timeout); err != nil || limit < 20*time.Minute || limit > time.Hour {
			t.Errorf("%s: it may take %s", path, build.Timeout)
		}
		text := page(t, path)
		for _, s := range regexp.MustCompile(`\$\{?(_[A-Z]+)\b`).FindAllStringSubmatch(text, -1) {
			if build.Substitutions[s[1]] == "" && !strings.Contains(text, s[1]+"=") {
				t.Errorf("%s: nobody says what %s is", path, s[1])
			}
		}
		for _, s := range build.Steps {
			if s.Script != "" || s.AllowFailure || len(s.SecretEnv) > 0 {
				t.Errorf("%s: the step %s is more than a program", path, s.Id)
			}
		}
	}
	// The example in the comment is one that works.
	if fn := functions.All[0].Name; !strings.Contains(page(t, "cloudbuild.yaml"), "_FUNCTION="+fn+",_REGION=") {
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
