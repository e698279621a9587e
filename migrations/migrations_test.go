package migrations_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/migrations"
)

func TestVersionIsTheNumberOfFiles(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s is numbered out of order; want %s...", name, want)
		}
	}
	if got := migrations.Version(); got != int64(len(names)) {
		t.Errorf("Version() = %d with %d files", got, len(names))
	}
}
