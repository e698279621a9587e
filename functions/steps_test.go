package functions_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// runner runs the steps of a pipeline with fakes in place of every program. Each
// fake writes down how it was called; the call whose turn is failAt fails.
type runner struct {
	t      *testing.T
	dir    string // of the fakes, and what they write down
	work   string // where the repository would be
	failAt int
	says   map[string]string // what a call prints, by how it begins
}

// fakeProgram notes a call with the variables that matter to Go, prints what the call
// is to say, and fails when it is its turn.
const fakeProgram = `#!/bin/bash
line="$(basename "$0")"
for word in "$@"; do line+=" $word"; done
[[ ${GOFLAGS-} == "-mod=vendor -tags=` + stage.Tags + `" && ${GOPROXY-} == off && ${GOTOOLCHAIN-} == local ]] && line="offline: $line"
[[ $PWD == "$WORK" ]] || line="in ${PWD#"$WORK"/}: $line"
echo "$line" >>"$HERE/calls"
[[ $line != *"-config -"* ]] || cat >"$HERE/input"
(( $(wc -l <"$HERE/calls") != FAIL_AT )) || exit 1
while IFS=$'\t' read -r begins text; do
	[[ $line != "$begins"* ]] || echo "$text"
done <"$HERE/says"
`

func newRunner(t *testing.T, failAt int, says map[string]string) *runner {
	t.Helper()
	r := &runner{t, t.TempDir(), t.TempDir(), failAt, says}
	table := ""
	for begins, text := range says {
		table += begins + "\t" + text + "\n"
	}
	r.write("says", table)
	r.write("calls", "")
	for _, name := range []string{"gcloud", "gh", "go", "terraform", "release"} {
		r.write(name, fakeProgram)
	}
	// What an earlier step leaves to a later one.
	for _, folder := range []string{"dist/auth", "dist/bin", "infra"} {
		if err := os.MkdirAll(filepath.Join(r.work, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(r.dir, "release"), filepath.Join(r.work, "dist/bin/release")); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *runner) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

func (r *runner) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// run runs a program in a folder of the repository, and tells whether it went well.
func (r *runner) run(folder string, env map[string]string, program string, args ...string) (said string, well bool) {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), program, args...)
	command.Dir = filepath.Join(r.work, folder)
	command.Env = []string{"PATH=" + r.dir + ":" + os.Getenv("PATH"), "HERE=" + r.dir, "WORK=" + r.work, fmt.Sprint("FAIL_AT=", r.failAt), "GITHUB_OUTPUT=" + filepath.Join(r.dir, "output"), "RUNNER_TEMP=" + r.dir}
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	text, err := command.CombinedOutput()
	return string(text), err == nil
}

var expression = regexp.MustCompile(`\$\{\{ ([^}]+) \}\}`)

// filled puts what GitHub would in place of expressions.
func (r *runner) filled(text string, values map[string]string) string {
	return expression.ReplaceAllStringFunc(text, func(found string) string {
		name := expression.FindStringSubmatch(found)[1]
		value, known := values[name]
		if !known {
			r.t.Errorf("nobody says what %s is", name)
		}
		return value
	})
}

// job runs the scripts of a job as GitHub does, one after the other until one fails.
func (r *runner) job(j job, values map[string]string) (said string, well bool) {
	r.t.Helper()
	for _, s := range j.Steps {
		if s.Run == "" {
			continue
		}
		env := map[string]string{"GITHUB_SHA": values["github.sha"], "GITHUB_REPOSITORY": "acme/dash"}
		for _, of := range []map[string]string{j.Env, s.Env} {
			for name, value := range of {
				env[name] = r.filled(value, values)
			}
		}
		r.write("script", s.Run)
		text, well := r.run("", env, "bash", "-e", filepath.Join(r.dir, "script")) // GitHub's own default
		if said += text; !well {
			return said, false
		}
	}
	return said, true
}

// cloudBuild runs the steps of cloudbuild.yaml, one after the other until one fails.
func (r *runner) cloudBuild() (said string, well bool) {
	r.t.Helper()
	build := built(r.t, "cloudbuild.yaml")
	values := maps.Clone(build.Substitutions)
	maps.Copy(values, map[string]string{"PROJECT_ID": "acme-dash", "_FUNCTION": "auth", "_COMMIT": sha})
	fill := func(text string) string {
		return os.Expand(text, func(name string) string {
			value, known := values[name]
			if !known {
				r.t.Errorf("nobody says what %s is", name)
			}
			return value
		})
	}
	for _, s := range build.Steps {
		env := map[string]string{}
		for _, e := range s.Env {
			name, value, _ := strings.Cut(e, "=")
			env[name] = value
		}
		var args []string
		for _, arg := range s.Args {
			args = append(args, fill(arg))
		}
		program := filepath.Join(r.dir, s.Entrypoint)
		if built, is := strings.CutPrefix(s.Entrypoint, "/workspace/"); is {
			program = filepath.Join(r.work, built)
		}
		text, well := r.run(fill(s.Dir), env, program, args...)
		if said += text; !well {
			return said, false
		}
	}
	return said, true
}

const sha = "0123456789012345678901234567890123456789"

// given is what GitHub knows when deploy.yml and infra.yml run.
var given = map[string]string{
	"vars.PROJECT_ID": "acme-dash", "vars.REGION": "europe-west1", "vars.WIF_PROVIDER": "projects/1/p", "vars.WIF": `{"a": "it's"}`, "vars.TFVARS": "region = \"x\"",
	"matrix.function": "auth", "github.sha": sha, "github.event_name": "push", "github.token": "t", "inputs.action": "apply", "secrets.UPSTASH_API_KEY": "",
	"github.event.pull_request.head.sha": sha, "github.event.number": "7", "needs.plan.outputs.comment": "the plan",
}

func jobOf(t *testing.T, file, name string) job {
	t.Helper()
	var flow workflow
	read(t, ".github/workflows/"+file+".yml", &flow)
	j, found := flow.Jobs[name]
	if !found {
		t.Fatalf("%s.yml has no job %s", file, name)
	}
	return j
}

const whereabouts = " --project=acme-dash --region=europe-west1"

// pipelines are the scripts that do something in the cloud, and all that each calls.
var pipelines = map[string]struct {
	run   func(*runner) (string, bool)
	calls []string
}{
	"plan": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "deploy", "plan"), given) }, []string{
		"go run ./infra/doctor -config - -workflows .github/workflows/deploy.yml -var vars.PROJECT_ID=acme-dash -var vars.WIF_PROVIDER=projects/1/p",
		"gh run list --repo acme/dash --workflow deploy.yml --branch main --status success --limit 1 --json headSha --jq .[].headSha",
		"go run ./infra/changed -base 0ld",
	}},
	"migrate": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "deploy", "migrate"), given) }, []string{
		"gcloud builds submit ." + whereabouts + " --config=infra/migrate.yaml --service-account=projects/acme-dash/serviceAccounts/builder@acme-dash.iam.gserviceaccount.com" +
			" --gcs-source-staging-dir=gs://run-sources-acme-dash-europe-west1/migrate --substitutions=_IMAGE=europe-west1-docker.pkg.dev/acme-dash/cloud-run-source-deploy/migrate:" + sha +
			" --suppress-logs --format=value(results.images[0].digest) --quiet",
		"gcloud run jobs update migrate" + whereabouts + " --image=europe-west1-docker.pkg.dev/acme-dash/cloud-run-source-deploy/migrate@" + digest + " --quiet",
		"gcloud run jobs execute migrate" + whereabouts + " --wait --quiet",
	}},
	"deploy": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "deploy", "deploy"), given) }, []string{
		"go run ./shared/function/stage/cmd -function auth -out dist/auth",
		"offline: go -C dist/auth build .",
		"go build -o dist/bin/ ./infra/release",
		"release -function=auth -project=acme-dash -region=europe-west1 -commit=" + sha,
	}},
	"cloudbuild": {(*runner).cloudBuild, []string{
		"go run ./shared/function/stage/cmd -function auth -out dist/auth",
		"in dist/auth: offline: go build .",
		"go build -o dist/bin/ ./infra/release",
		"release -function=auth -project=acme-dash -region=europe-west1 -commit=" + sha,
	}},
	"infra's plan": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "infra", "plan"), given) }, []string{
		"terraform -chdir=infra init -input=false -backend-config=bucket=acme-dash-terraform",
		"terraform -chdir=infra plan -input=false -lock=false -refresh=false -no-color",
	}},
	"comment": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "infra", "comment"), given) }, []string{
		"gh pr comment 7 --repo=acme/dash --edit-last --create-if-none --body=the plan",
	}},
	"apply": {func(r *runner) (string, bool) { return r.job(jobOf(r.t, "infra", "apply"), given) }, []string{
		"terraform -chdir=infra init -input=false -backend-config=bucket=acme-dash-terraform",
		"terraform -chdir=infra apply -input=false -auto-approve",
	}},
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var answers = map[string]string{"gcloud builds submit": digest, "gh run list": "0ld", "go run ./infra/changed": `{"functions":["auth"],"migrate":true}`}

// TestPipelinesStopWhereTheyFail runs each pipeline, and again with each of its calls
// failing in turn: nothing comes after the one that failed.
func TestPipelinesStopWhereTheyFail(t *testing.T) {
	t.Parallel()
	for name, p := range pipelines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for failAt := range len(p.calls) + 1 { // 0 is never
				r := newRunner(t, failAt, answers)
				said, well := p.run(r)
				got := strings.Split(strings.TrimSuffix(r.read("calls"), "\n"), "\n")
				want := p.calls
				if failAt > 0 {
					want = want[:failAt]
				}
				if diff := cmp.Diff(want, got); diff != "" || well != (failAt == 0) {
					t.Errorf("with call %d failing, all is well: %v: %s%s", failAt, well, said, diff)
				}
			}
		})
	}
}

func TestThePlanIsWhatTheDoctorReadAndTheChanges(t *testing.T) {
	t.Parallel()
	r := newRunner(t, 0, answers)
	if said, well := pipelines["plan"].run(r); !well {
		t.Fatal(said)
	}
	if got := r.read("input"); got != given["vars.WIF"]+"\n" {
		t.Errorf("the doctor reads %q", got)
	}
	if got := r.read("output"); got != "changes="+answers["go run ./infra/changed"]+"\n" {
		t.Errorf("the other jobs are told %q", got)
	}
	plan := jobOf(t, "deploy", "plan")
	without := maps.Clone(given)
	without["vars.WIF"] = ""
	r = newRunner(t, 0, answers)
	if said, well := r.job(plan, without); well || !strings.Contains(said, "go run ./infra/bootstrap github -repository=acme/dash") || r.read("calls") != "" {
		t.Errorf("without WIF: %v %s, %s", well, said, r.read("calls"))
	}
	// By hand, everything is deployed.
	without = maps.Clone(given)
	without["github.event_name"] = "workflow_dispatch"
	r = newRunner(t, 0, answers)
	if said, well := r.job(plan, without); !well || !strings.HasSuffix(r.read("calls"), "\ngo run ./infra/changed -base \n") {
		t.Errorf("by hand: %v %s, %s", well, said, r.read("calls"))
	}
}

// Nothing is run under a tag, which others may move.
func TestMigrationsRunByTheirDigest(t *testing.T) {
	t.Parallel()
	for _, told := range []string{"", "latest", "sha256:0123"} {
		r := newRunner(t, 0, map[string]string{"gcloud builds submit": told})
		if said, well := pipelines["migrate"].run(r); well || !strings.Contains(said, "names no image's digest but \""+told+"\"") || strings.Contains(r.read("calls"), "gcloud run") {
			t.Errorf("with the digest %q: %v %s, %s", told, well, said, r.read("calls"))
		}
	}
}

// TestThePlanIsCommented reads what GitHub would: one output, whatever the plan says.
func TestThePlanIsCommented(t *testing.T) {
	t.Parallel()
	r := newRunner(t, 0, map[string]string{"terraform -chdir=infra plan": "```\\nEOF " + strings.Repeat("x", 60000)})
	if said, well := r.job(jobOf(t, "infra", "plan"), given); !well {
		t.Fatal(said)
	}
	output := r.read("output")
	found := regexp.MustCompile(`(?s)\Acomment<<([0-9a-f]{32})\n(.*)\n([0-9a-f]{32})\n\z`).FindStringSubmatch(output)
	if found == nil || found[1] != found[3] || len(found[2]) > 65000 {
		t.Fatalf("%.500s", output)
	}
	if !strings.HasPrefix(found[2], "What `terraform plan` says of "+sha) || !strings.Contains(found[2], "\n\n    ```") {
		t.Errorf("it says %.300s", found[2])
	}
}

// TestBothPipelinesReleaseAlike holds that they tell the release the same, and that
// it understands them.
func TestBothPipelinesReleaseAlike(t *testing.T) {
	t.Parallel()
	last := func(name string) []string {
		calls := pipelines[name].calls
		words := strings.Fields(calls[len(calls)-1])
		return words[slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }):]
	}
	if diff := cmp.Diff(last("deploy"), last("cloudbuild")); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"run", "./infra/release"}, last("deploy"), []string{"-h"})...)
	command.Dir, command.Stdout, command.Stderr = "..", &out, &out
	if err := command.Run(); err != nil || !strings.HasPrefix(out.String(), "release -function NAME") {
		t.Errorf("%v: %s", err, out.String())
	}
}
