package functions_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// terraform runs Terraform in a folder, as nobody's: without variables of the caller.
func terraform(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "terraform", args...)
	command.Dir = dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TF_VAR_") && !strings.HasPrefix(variable, "TF_CLI_ARGS") && !strings.HasPrefix(variable, "TF_DATA_DIR") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestTerraform holds infra with Terraform's own means, on a copy: what init makes
// does not belong there.
func TestTerraform(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("no terraform on this machine: https://developer.hashicorp.com/terraform/install")
	}
	root := filepath.Join(t.TempDir(), "infra")
	if err := os.CopyFS(root, os.DirFS("../infra")); err != nil {
		t.Fatal(err)
	}
	// What somebody's own init has left is not part of it.
	for _, left := range []string{".terraform", ".terraform.lock.hcl"} {
		if err := os.RemoveAll(filepath.Join(root, left)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := terraform(t, root, "fmt", "-check", "-recursive", "-diff", "-no-color"); err != nil {
		t.Errorf("run terraform fmt -recursive infra: %s", out)
	}
	// The manifest's part takes no provider, and so no network.
	for _, dir := range []string{filepath.Join(root, "modules", "manifest"), root} {
		name := filepath.Base(dir)
		if out, err := terraform(t, dir, "init", "-backend=false", "-input=false", "-no-color"); err != nil {
			if dir == root && regexp.MustCompile(`(?i)could not connect to registry|no such host|failed to query available provider packages`).MatchString(out) {
				t.Skip("no Terraform provider within reach: name a mirror's configuration in TF_CLI_CONFIG_FILE (terraform providers mirror makes one)")
			}
			t.Fatalf("%s: init: %s", name, out)
		}
		if out, err := terraform(t, dir, "validate", "-no-color"); err != nil {
			t.Fatalf("%s: validate: %s", name, out)
		}
		out, err := terraform(t, dir, "test", "-no-color")
		if err != nil || !regexp.MustCompile(`Success! [1-9]\d* passed, 0 failed\.`).MatchString(out) {
			t.Errorf("%s: test: %s", name, out)
		}
	}
}

// TestRunbookHasWhatAlertsName follows an alert to the section that it names.
func TestRunbookHasWhatAlertsName(t *testing.T) {
	t.Parallel()
	alerts, err := os.ReadFile("../infra/observability.tf")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../infra/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`section +(?:= )?\\?"([^"\\]+)\\?"|RUNBOOK\.md: ([^)]+)\)|\$\{local\.runbook\} \\"([A-Z][^"\\]+)\\"`).FindAllStringSubmatch(string(alerts), -1)
	if len(named) < 7 {
		t.Fatalf("only %d alerts name a section", len(named))
	}
	for _, match := range named {
		section := strings.Join(match[1:], "")
		if !strings.Contains(string(runbook), "\n## "+section+"\n") {
			t.Errorf("infra/RUNBOOK.md has no section %q", section)
		}
	}
}

// TestTerraformTestsEveryGrant holds that whatever gives somebody something is named
// where Terraform's own test states all that is given, and adds to what is there: a
// binding or a policy would take from others, and name members that no test sees.
func TestTerraformTestsEveryGrant(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../infra/*.tf")
	if err != nil {
		t.Fatal(err)
	}
	stated, err := os.ReadFile("../infra/tests/identities.tftest.hcl")
	if err != nil {
		t.Fatal(err)
	}
	_, grants, found := strings.Cut(string(stated), "run \"grants\" {")
	grants, _, closed := strings.Cut(grants, "\n}\n")
	if !found || !closed {
		t.Fatal("infra/tests/identities.tftest.hcl has no run \"grants\"")
	}
	var seen int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?m)^resource "(\w+_(?:iam_\w+|acl|access_control|iam))" "(\w+)"`).FindAllStringSubmatch(string(text), -1) {
			kind, name := match[1], match[2]
			if strings.HasPrefix(kind, "google_iam_") {
				continue // a pool or its provider, which give nobody anything
			}
			seen++
			if !strings.HasSuffix(kind, "_iam_member") && kind != "google_project_iam_custom_role" {
				t.Errorf("%s: %s.%s is no member: give one with %s_iam_member", filepath.Base(file), kind, name, strings.Split(kind, "_iam")[0])
			}
			if !strings.Contains(grants, kind+"."+name) {
				t.Errorf("%s: what %s.%s gives is not stated in infra/tests/identities.tftest.hcl, run \"grants\"", filepath.Base(file), kind, name)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d resources give something", seen)
	}
}

// TestTerraformNamesNoFunction holds that functions.All is the only list: what is
// made for a function follows from the manifest.
func TestTerraformNamesNoFunction(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`"(auth|refresh|metrics|rollup|health|web)"|fn-(auth|refresh|metrics|rollup|health|web)\b`)
	err := fs.WalkDir(os.DirFS("../infra"), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".tf" {
			return err
		}
		text, err := os.ReadFile(filepath.Join("../infra", path))
		if found := names.Find(text); found != nil {
			t.Errorf("%s names a function: %s", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
