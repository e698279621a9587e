package functions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
)

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEverySecretHasItsRotation holds that whoever runs the product is told how to
// change each secret.
func TestEverySecretHasItsRotation(t *testing.T) {
	t.Parallel()
	secrets := map[string]bool{}
	for _, fn := range functions.All {
		for _, s := range function.Settings(fn) {
			if s.Secret {
				secrets[s.Name] = true
			}
		}
	}
	var frame struct { // what every function reads
		Settings []struct {
			Name   string
			Secret bool
		}
	}
	if err := json.Unmarshal([]byte(page(t, "infra/functions.json")), &frame); err != nil {
		t.Fatal(err)
	}
	for _, s := range frame.Settings {
		if s.Secret {
			secrets[s.Name] = true
		}
	}
	for _, file := range []string{"deploy.yml", "infra.yml"} {
		for _, found := range regexp.MustCompile(`\bsecrets\.(\w+)`).FindAllStringSubmatch(page(t, ".github/workflows/"+file), -1) {
			secrets[found[1]] = true
		}
	}
	told := map[string]bool{}
	_, section, _ := strings.Cut(page(t, "infra/README.md"), "\n## Secrets and keys\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, paragraph := range strings.Split(section, "\n### ")[1:] {
		name, text, _ := strings.Cut(paragraph, "\n")
		if regexp.MustCompile(`^[A-Z_]+$`).MatchString(name) && len(strings.Fields(text)) > 15 {
			told[name] = true
		}
	}
	for name := range secrets {
		if !told[name] {
			t.Errorf("infra/README.md does not say, under ### %s, how it is rotated", name)
		}
	}
	for name := range told {
		if !secrets[name] {
			t.Errorf("infra/README.md rotates %s, which is no secret of ours", name)
		}
	}
}

// shellOf returns the shell commands that a file tells people or machines to run.
func shellOf(t *testing.T, path string) []string {
	t.Helper()
	text := page(t, path)
	var all []string
	if strings.HasSuffix(path, ".md") {
		for _, found := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
		// Without flags or variables it is a mention, which may leave out the rest.
		for _, found := range regexp.MustCompile("`(gcloud [^`]*(?:--|\"\\$)[^`]*)`").FindAllStringSubmatch(text, -1) {
			all = append(all, strings.ReplaceAll(found[1], "\n", " "))
		}
		return all
	}
	// The command that a comment at the top gives.
	for _, found := range regexp.MustCompile(`(?m)^#   gcloud (?:.*\\\n)*.*$`).FindAllString(text, -1) {
		all = append(all, strings.TrimPrefix(strings.ReplaceAll(found, "\n#", "\n"), "#"))
	}
	var tree yaml.Node
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			if n.Content[i].Value == "run" && n.Content[i+1].Kind == yaml.ScalarNode {
				all = append(all, n.Content[i+1].Value)
			}
		}
		for _, inner := range n.Content {
			walk(inner)
		}
	}
	walk(&tree)
	return all
}

// stand in for what a shell would put in place of variables.
var stand = map[string]string{"PROJECT": "acme-dash", "P": "acme-dash", "REGION": "europe-west1", "R": "europe-west1", "FUNCTION": "auth", "IMAGE": "europe-docker.pkg.dev/p/r/i:t", "name": "auth"}

// spelt returns the word as a program would be given it.
func spelt(parts []syntax.WordPart) string {
	var b strings.Builder
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			b.WriteString(strings.ReplaceAll(part.Value, "\\", ""))
		case *syntax.SglQuoted:
			b.WriteString(part.Value)
		case *syntax.DblQuoted:
			b.WriteString(spelt(part.Parts))
		case *syntax.ParamExp:
			if value, known := stand[part.Param.Value]; known {
				b.WriteString(value)
				continue
			}
			b.WriteString("some-value")
		default: // what a command prints
			b.WriteString("some-value")
		}
	}
	return b.String()
}

// callsOf returns the calls of gcloud in a shell's text.
func callsOf(text string) ([][]string, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	var all [][]string
	syntax.Walk(file, func(node syntax.Node) bool {
		if call, is := node.(*syntax.CallExpr); is && len(call.Args) > 0 && call.Args[0].Lit() == "gcloud" {
			var args []string
			for _, word := range call.Args[1:] {
				args = append(args, spelt(word.Parts))
			}
			all = append(all, args)
		}
		return true
	})
	return all, nil
}

// TestGcloudKnowsWhatItIsTold has the installed gcloud read every call of it that
// stands in this repository. It is signed in as nobody, so that it stops there.
func TestGcloudKnowsWhatItIsTold(t *testing.T) {
	t.Parallel()
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("no gcloud; it comes with: https://cloud.google.com/sdk/docs/install")
	}
	calls := map[string][]string{}
	add := func(text string) {
		found, err := callsOf(text)
		if err != nil {
			t.Error(err)
		}
		for _, args := range found {
			calls[strings.Join(args, " ")] = args
		}
	}
	files := []string{"README.md", "cloudbuild.yaml", "infra/migrate.yaml"}
	for _, pattern := range []string{"../infra/*.md", "../infra/*/*.md", "../.github/workflows/*.yml"} {
		found, _ := filepath.Glob(pattern) // the pattern is good
		for _, file := range found {
			files = append(files, strings.TrimPrefix(file, "../"))
		}
	}
	for _, file := range files {
		for _, text := range shellOf(t, file) {
			add(text)
		}
	}
	// What bootstrap would do where nothing is there yet.
	for _, text := range bootstrapped(t) {
		add(text)
	}
	if len(calls) < 30 {
		t.Errorf("only %d calls were found", len(calls))
	}
	calls["run deploy --functoin=Auth auth"] = nil // one that is wrong
	config := t.TempDir()
	for _, line := range slices.Sorted(maps.Keys(calls)) {
		args := calls[line]
		wrong := args == nil
		if wrong {
			args = strings.Fields(line)
		}
		if args[0] == "auth" {
			continue // it would open a browser
		}
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), gcloud, args...)
			command.Dir = ".."
			command.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+config, "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_CHECK_GCE_METADATA=false")
			text, err := command.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if misread := exit != nil && exit.ExitCode() == 2; misread != wrong {
				t.Errorf("gcloud %s: %s", line, text)
			}
		})
	}
}

// bootstrapped returns what infra/bootstrap prints of a dry run in an empty world.
func bootstrapped(t *testing.T) []string {
	t.Helper()
	path := t.TempDir()
	for name, text := range map[string]string{"gcloud": "echo NOT_FOUND >&2; exit 1", "gh": "echo 65 74"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "go", "run", "./infra/bootstrap", "cloud", "-dry-run", "-project=acme-dash", "-repository=acme/dash", "-billing=012345-6789AB-CDEF01")
	command.Dir = ".."
	command.Env = append(os.Environ(), "PATH="+path+string(filepath.ListSeparator)+os.Getenv("PATH"))
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if command, found := strings.CutPrefix(line, "would run: "); found {
			all = append(all, command)
		}
	}
	if len(all) < 20 {
		t.Errorf("bootstrap would do %d things", len(all))
	}
	return all
}
