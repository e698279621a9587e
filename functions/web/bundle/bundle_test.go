package bundle_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/functions/web/bundle"
)

var update = flag.Bool("update", false, "rewrite the committed bundle")

const (
	page   = "../page"
	assets = "../assets"
	stale  = "the committed bundle is stale; run: go test ./functions/web/bundle -update"
)

func TestBundleIsCurrent(t *testing.T) {
	built, err := bundle.Build(page)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		rewrite(t, built)
		return
	}
	committed := read(t, assets)
	for name := range committed {
		if built[name] == nil {
			t.Errorf("%s: %s is not built any more", stale, name)
		}
	}
	for name, want := range built {
		got := committed[name]
		// Another version of Go may compress differently; the content decides.
		if strings.HasSuffix(name, bundle.Compressed) && got != nil {
			got, want = plain(t, got), plain(t, want)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %s differs", stale, name)
		}
	}
}

// The names hold hashes that browsers may rely on for a year, so they must not
// depend on where the build ran.
func TestBuildDoesNotDependOnItsPlace(t *testing.T) {
	t.Parallel()
	here, err := bundle.Build(page)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(elsewhere, os.DirFS(page)); err != nil {
		t.Fatal(err)
	}
	there, err := bundle.Build(elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	for name := range here {
		if !bytes.Equal(here[name], there[name]) {
			t.Errorf("%s differs when built elsewhere", name)
		}
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, file, content, want string }{
		{"a script that does not parse", "app.tsx", "let = ;", "app.tsx"},
		{"a page that refers to nothing", "docs.html", `<script src="{{gone.js}}">`, "gone.js"},
		{"no page", "app.html", "", "app.html"},
		{"no icon", "favicon.svg", "", "favicon.svg"},
		{"a licence that cannot be read", "vendor/preact@11.2.0/LICENSE", "", "LICENSE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			broken := filepath.Join(t.TempDir(), "page")
			if err := os.CopyFS(broken, os.DirFS(page)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(broken, tt.file)
			if tt.content == "" {
				if err := errors.Join(os.Remove(file), os.Symlink("nowhere", file)); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := bundle.Build(broken); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error that names %s", err, tt.want)
			}
		})
	}
}

// What a first visit loads, compressed: page, script, style and icon.
func TestFirstLoadIsSmall(t *testing.T) {
	t.Parallel()
	const bound = 60_000
	total := 0
	for name, content := range read(t, assets) {
		if strings.HasSuffix(name, bundle.Compressed) && (strings.HasPrefix(name, "app") || strings.HasPrefix(name, "favicon")) {
			t.Logf("%6d bytes  %s", len(content), name)
			total += len(content)
		}
	}
	t.Logf("%6d bytes of at most %d", total, bound)
	if total == 0 || total > bound {
		t.Errorf("a first visit loads %d bytes, want 1 to %d", total, bound)
	}
}

// TypeScript is checked where its compiler is at hand; the build only strips types.
func TestTypes(t *testing.T) {
	t.Parallel()
	tsc, err := exec.LookPath("tsc")
	if err != nil {
		t.Skip("tsc is not on PATH; run: npm install -g typescript@7.0.2")
	}
	if out, err := exec.Command(tsc, "--noEmit", "--project", page).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func rewrite(t *testing.T, built map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(assets); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(assets, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range built {
		if err := os.WriteFile(filepath.Join(assets, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = content
	}
	return files
}

func plain(t *testing.T, compressed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
