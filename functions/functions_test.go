package functions_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
)

var update = flag.Bool("update", false, "rewrite the generated files")

func TestManifestIsCurrent(t *testing.T) {
	t.Parallel()
	got, err := function.Manifest(functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../infra/functions.json", got)
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
