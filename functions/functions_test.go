package functions_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/infra/cost"
	"github.com/devops-dashboard/dashboard/infra/diagram"
	"github.com/devops-dashboard/dashboard/shared/function"
)

var update = flag.Bool("update", false, "rewrite the generated files")

func TestManifestIsCurrent(t *testing.T) {
	t.Parallel()
	golden(t, "../infra/functions.json", manifest(t))
}

func TestGrantsAreCurrent(t *testing.T) {
	t.Parallel()
	golden(t, "../migrations/grants.sql", []byte(function.Grants(functions.All...)))
}

func TestAPIDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	document, err := json.Marshal(function.OpenAPI(functions.All...))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, document, "", " "); err != nil {
		t.Fatal(err)
	}
	golden(t, "web/openapi.json", append(got.Bytes(), '\n'))
}

func TestCostsAreCurrent(t *testing.T) {
	t.Parallel()
	got, err := cost.Page(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../infra/COST.md", got)
}

func TestDiagramIsCurrent(t *testing.T) {
	t.Parallel()
	picture, err := diagram.Mermaid(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	const path, begin, end = "../infra/README.md", "```mermaid\n", "```\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no diagram: put %q and %q where it belongs", path, begin, end)
	}
	golden(t, path, []byte(before+begin+string(picture)+end+after))
}

func manifest(t *testing.T) []byte {
	t.Helper()
	text, err := function.Manifest(functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is stale; run: go test ./functions -update", path)
	}
}
