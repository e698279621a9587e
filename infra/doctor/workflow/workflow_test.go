package workflow_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

func parse(t testing.TB, name, text string) workflow.File {
	t.Helper()
	f, err := workflow.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWaysToWriteIt(t *testing.T) {
	t.Parallel()
	f := parse(t, "a.yml", `
on: [push, workflow_dispatch]
permissions: write-all
jobs:
  one:
    environment: {name: prod, url: https://x}
    steps:
      - &sign-in
        uses: Google-GitHub-Actions/Auth@v3
        with: {token_format: id_token, retries: 3}
      - *sign-in
  two:
    permissions: {id-token: read}
    environment: test
  three:
    permissions: read-all
`)
	if diff := cmp.Diff([]string{"push", "workflow_dispatch"}, f.On.Events()); diff != "" {
		t.Error(diff)
	}
	one := f.Jobs["one"]
	if one.Environment != "prod" || f.Jobs["two"].Environment != "test" {
		t.Errorf("%+v", one)
	}
	for _, step := range one.Steps {
		if !step.Is("google-github-actions/auth") || step.Input("retries") != "3" || step.Input("audience") != "" || step.Line != 8 {
			t.Errorf("%+v", step)
		}
	}
	var granted []bool
	for _, run := range workflow.Runs([]workflow.File{f}, nil) {
		granted = append(granted, run.Asking[0].Granted)
	}
	if diff := cmp.Diff([]bool{true, false, false}, granted); diff != "" { // one, three, two
		t.Error(diff)
	}
	if got := parse(t, "b.yml", "on: push\n").On.Events(); !cmp.Equal(got, []string{"push"}) {
		t.Error(got)
	}
}

func TestMatrix(t *testing.T) {
	t.Parallel()
	for matrix, want := range map[string][]string{
		"{f: [auth, web]}":                                                         {"auth-", "web-"},
		"{f: [auth, web], n: [1, 2]}":                                              {"auth-1", "auth-2", "web-1", "web-2"},
		"{f: [auth, web], n: [1, 2], exclude: [{f: auth, n: 2}]}":                  {"auth-1", "web-1", "web-2"},
		"{f: [auth, web], include: [{f: web, n: 7}]}":                              {"auth-", "web-7"},
		"{f: [auth], include: [{f: web, n: 7}]}":                                   {"auth-", "web-7"},
		"{f: [auth, web], include: [{n: 7}]}":                                      {"auth-7", "web-7"},
		"{include: [{f: auth, n: 1}, {f: web}]}":                                   {"auth-1", "web-"},
		"{f: [], n: [1]}":                                                          {"-1"},
		"{f: '${{ fromJSON(needs.plan.outputs.f) }}', n: [1]}":                     {"\x00-1"},
		"${{ fromJSON(needs.plan.outputs.matrix) }}":                               {"\x00-\x00"},
		"{f: ['${{ vars.NAME }}']}":                                                {"${{ vars.NAME }}-"},
		"{f: [" + strings.Repeat("x, ", 300) + "x], exclude: [{}, {n: 1}, {f}]}":   nil,
		"{f: [a, b], n: [" + strings.Repeat("x, ", 300) + "x]}":                    nil,
		"{include: [" + strings.Repeat("{f: x}, ", 300) + "{f: x}]}":               nil,
		"{include: '${{ fromJSON(needs.plan.outputs.all) }}', exclude: {f: auth}}": {"\x00-\x00"},
	} {
		f := parse(t, "a.yml", "on: push\njobs:\n  a:\n    strategy:\n      matrix: "+matrix+"\n    environment: ${{ matrix.f }}-${{matrix.n}}\n")
		var got []string
		for _, run := range workflow.Runs([]workflow.File{f}, nil) {
			got = append(got, run.Expand(string(run.Job.Environment)))
		}
		if want == nil && len(got) == 256 {
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", matrix, diff)
		}
	}
}

const called = "on: workflow_call\njobs:\n  deploy:\n    environment: prod-${{ inputs.function }}\n    permissions: {id-token: write}\n    steps: [{uses: google-github-actions/auth@v3}]\n"

func TestCalls(t *testing.T) {
	t.Parallel()
	caller := parse(t, "release.yml", `
on: push
permissions: {contents: read}
jobs:
  ship:
    strategy: {matrix: {function: [auth, web]}}
    uses: ./.github/workflows/deploy.yml
    with: {function: "${{ matrix.function }}"}
  other:
    uses: octo-org/other/.github/workflows/x.yml@v1
  later:
    uses: ./.github/workflows/deploy.yml
    with: {function: "${{ needs.plan.outputs.f }}"}
`)
	runs := workflow.Runs([]workflow.File{parse(t, "deploy.yml", called), caller}, map[string]string{"vars.X": "x"})
	var got []string
	for _, run := range runs {
		got = append(got, fmt.Sprintf("%s %s %s %q %d %v", run.Root.Name, run.File.Name, run.ID, run.Expand(string(run.Job.Environment)), len(run.Asking), run.Asking[0].Granted))
	}
	want := []string{
		`release.yml deploy.yml deploy "prod-\x00" 2 false`, // later
		`release.yml release.yml other "" 1 false`,
		`release.yml deploy.yml deploy "prod-auth" 2 false`,
		`release.yml deploy.yml deploy "prod-web" 2 false`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"deploy.yml: jobs.deploy.environment", "release.yml: jobs.ship.with.function"}, runs[3].Sources("environment", string(runs[3].Job.Environment))); diff != "" {
		t.Error(diff)
	}
	if got := runs[3].Expand("${{ vars.X }}${{ format('{0}', 1) }}\x00"); got != "x"+workflow.Unknown {
		t.Errorf("%q", got)
	}
	alone := workflow.Runs([]workflow.File{parse(t, "deploy.yml", called)}, nil)
	if len(alone) != 1 || alone[0].Expand(string(alone[0].Job.Environment)) != "prod-"+workflow.Unknown {
		t.Errorf("%+v", alone)
	}
	inherits := strings.Replace(called, "    permissions: {id-token: write}\n", "", 1)
	caller = parse(t, "release.yml", "on: push\njobs: {ship: {permissions: {id-token: write}, uses: ./.github/workflows/deploy.yml}}\n")
	if runs := workflow.Runs([]workflow.File{parse(t, "deploy.yml", inherits), caller}, nil); len(runs) != 1 || !runs[0].Asking[0].Granted || !runs[0].Asking[1].Granted {
		t.Errorf("%+v", runs)
	}
	if alone := workflow.Runs([]workflow.File{parse(t, "deploy.yml", inherits)}, nil); alone[0].Asking[0].Granted {
		t.Errorf("%+v", alone)
	}
	if got := workflow.Shown("prod-" + workflow.Unknown); got != "prod-${{ … }}" {
		t.Error(got)
	}
}

func TestCallsInACircleEnd(t *testing.T) {
	t.Parallel()
	f := parse(t, "a.yml", "on: push\njobs:\n  a:\n    strategy: {matrix: {n: [1, 2, 3, 4]}}\n    uses: ./.github/workflows/a.yml\n  b:\n    uses: ./.github/workflows/a.yml\n")
	if n := len(workflow.Runs([]workflow.File{f}, nil)); n != 4096 {
		t.Errorf("%d runs", n)
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringN(0, 5, -1), 1, 4).Draw(t, "parts")
		filled := strings.Join(parts, rapid.String().Draw(t, "unknown"))
		for i, part := range parts {
			parts[i] = strings.ReplaceAll(part, workflow.Unknown, "")
		}
		filled = strings.ReplaceAll(filled, workflow.Unknown, "")
		value := strings.Join(parts, workflow.Unknown)
		if !workflow.Fits(value, filled) {
			t.Errorf("%q does not fit %q", value, filled)
		}
		if workflow.Known(value) && (workflow.Fits(value, filled+"x") || !workflow.Fits(value, value)) {
			t.Errorf("%q fits others", value)
		}
	})
}

func TestReadTakesWorkflowsOnly(t *testing.T) {
	t.Parallel()
	folder := fstest.MapFS{
		"b.yaml": {Data: []byte("on: push")}, "a.yml": {Data: []byte("on: push")}, "README.md": {Data: []byte("[")}, "old/c.yml": {Data: []byte("[")},
	}
	all, err := workflow.Read(folder)
	if err != nil || len(all) != 2 || all[0].Name != "a.yml" || all[1].Name != "b.yaml" {
		t.Errorf("%v, %v", all, err)
	}
	folder["c.yml"] = &fstest.MapFile{Data: []byte("jobs: [")}
	if _, err := workflow.Read(folder); err == nil || !strings.HasPrefix(err.Error(), "c.yml: ") {
		t.Error(err)
	}
	for i := range 500 {
		folder[fmt.Sprintf("%03d.yml", i)] = &fstest.MapFile{}
	}
	if _, err := workflow.Read(folder); err == nil || !strings.Contains(err.Error(), "more than 500") {
		t.Error(err)
	}
	if _, err := workflow.Read(fstest.MapFS{"x": {Data: nil}}); err != nil {
		t.Error(err)
	}
	if _, err := workflow.Read(os.DirFS("nowhere")); err == nil {
		t.Error("read a folder that is not there")
	}
	if _, err := workflow.Read(os.DirFS(dangling(t))); err == nil {
		t.Error("read a file that is not there")
	}
}

func dangling(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(folder, "a.yml")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// laughs would be a billion texts.
var laughs = func() string {
	text := "on: push\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n"
	for i := range 9 {
		text += fmt.Sprintf("x%d: &x%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i), 9), ", "))
	}
	return text + "jobs: {a: {steps: [{uses: a, with: {x: *x9}}], with: {x: *x9}}}\n"
}()

func TestWhatIsNoWorkflow(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"jobs: [":                                  "did not find",
		"jobs: {a: }":                              `job "a" is empty`,
		"on: *x":                                   "unknown anchor",
		"on: {a: &a [*a]}\njobs: []":               "",
		"jobs: &a {b: {with: *a}, c: *a}":          "",
		"jobs: {a: {with: &a {x: *a}}}":            "contains itself",
		"jobs: {a: {steps: [&a {with: {x: *a}}]}}": "contains itself",
		"jobs: {a: {environment: [a]}}":            "cannot unmarshal",
		"jobs: {a: {runs-on: {labels: {a: b}}}}":   "cannot unmarshal",
		"on: [{push: }]":                           "cannot unmarshal",
		"on: {push: {branches: {a: b}}}":           "cannot unmarshal",
		"jobs: {a: {strategy: {matrix: []}}}":      "cannot unmarshal",
		"permissions: []":                          "cannot unmarshal",
		laughs:                                     "excessive aliasing",
		strings.Repeat("#", workflow.Most+1):       "longer than 1 MiB",
	} {
		_, err := workflow.Parse("a.yml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "a.yml: ") {
			t.Errorf("%.50s: %v", text, err)
		}
	}
	if f, err := workflow.Parse("empty.yml", nil); err != nil || f.Jobs != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(called))
	f.Add([]byte("on: {push: {branches: [main]}}\njobs:\n  a: {strategy: {matrix: {f: [1], include: [{f: 2}], exclude: [{f: 1}]}}, environment: {name: 'x-${{ matrix.f }}'}}\n"))
	f.Add([]byte("jobs: {a: &a {uses: ./.github/workflows/a.yml, with: {x: '${{ inputs.x }}x'}}, b: *a}"))
	f.Add([]byte(laughs))
	f.Add([]byte("on: {push: {branches: ['v[0-9]+?', '!\\**', é*], tags-ignore: a, paths: ['!a']}, release: }\njobs: {a: {runs-on: {group: g, labels: [self-hosted, '${{ matrix.os }}']}}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := workflow.Parse("a.yml", text)
		if err != nil {
			return
		}
		for _, trigger := range file.On {
			for _, ref := range trigger.Refs() {
				if !trigger.Starts(ref) {
					t.Errorf("%+v does not start for %q", trigger, ref)
				}
			}
		}
		for _, run := range workflow.Runs([]workflow.File{file}, nil) {
			run.Hosting()
			environment := run.Expand(string(run.Job.Environment))
			if workflow.Known(environment) && !workflow.Fits(environment, environment) {
				t.Errorf("%q does not fit itself", environment)
			}
			run.Sources("environment", string(run.Job.Environment))
		}
	})
}
