package functions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/infra/doctor/command"
)

// workflow is a file of .github/workflows, as far as ours go: another field is an
// error, and so is thought about before it is used.
type workflow struct {
	Name        string
	On          map[string]any
	Permissions map[string]string
	Concurrency concurrency
	Jobs        map[string]job
}

type concurrency struct {
	Group            string
	CancelInProgress string `yaml:"cancel-in-progress"`
}

type job struct {
	Name, If, Environment string
	Needs                 any
	RunsOn                string `yaml:"runs-on"`
	TimeoutMinutes        int    `yaml:"timeout-minutes"`
	Concurrency           concurrency
	Permissions           map[string]string
	Outputs, Env          map[string]string
	Strategy              struct {
		FailFast string `yaml:"fail-fast"`
		Matrix   map[string]string
	}
	Steps []step
}

type step struct {
	ID, Name, If, Uses, Run string
	With, Env               map[string]string
}

func (j job) checksOut() bool {
	return slices.ContainsFunc(j.Steps, func(s step) bool { return strings.HasPrefix(s.Uses, "actions/checkout@") })
}

// isGoogle tells whether the job asks Google for a token.
func (j job) isGoogle() bool { return j.Permissions["id-token"] == "write" }

// broken lists what is wrong with a workflow. The rules are those that audits of
// workflows agree on: https://docs.zizmor.sh/audits/
func broken(text string) []string {
	var flow workflow
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&flow); err != nil {
		return []string{err.Error()}
	}
	var found []string
	wrong := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if flow.Permissions == nil || len(flow.Permissions) > 0 {
		wrong("every job has the permissions %v", flow.Permissions)
	}
	for event := range flow.On {
		if !slices.Contains([]string{"push", "pull_request", "workflow_dispatch", "schedule"}, event) {
			wrong("%s runs what strangers wrote with rights of ours", event)
		}
	}
	if push, _ := flow.On["push"].(map[string]any); flow.On["push"] != nil && fmt.Sprint(push["branches"]) != "[main]" {
		wrong("a push to any branch or tag starts it")
	}
	for what, why := range map[string]string{
		`toJSON\(secrets|secrets\[`: "reads secrets that it does not name", `contains\(`: "looks for a text within a text",
		`github\.actor\b|github\.triggering_actor\b`: "asks who pressed the button, who need not have written what runs", `GITHUB_(ENV|PATH)\b`: "changes how later steps run",
		"ACTIONS_ALLOW_UNSECURE_COMMANDS": "takes commands from what is printed", `continue-on-error`: "goes on after a failure",
	} {
		if regexp.MustCompile(what).MatchString(text) {
			wrong("it %s", why)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if regexp.MustCompile(`^ +[a-z-]+: (read|write)\b`).MatchString(line) && !strings.Contains(line, " # ") {
			wrong("%q does not say what it is for", strings.TrimSpace(line))
		}
	}
	for name, job := range flow.Jobs {
		if job.Name == "" || job.TimeoutMinutes == 0 || job.TimeoutMinutes > 60 || job.RunsOn != "ubuntu-24.04" || len(job.Permissions) == 0 {
			wrong("%s: no name, no time limit, no permissions of its own, or a machine of somebody's", name)
		}
		if flow.Concurrency.Group == "" && job.Concurrency.Group == "" {
			wrong("%s: two may run at once", name)
		}
		for what, right := range job.Permissions {
			// Who writes here is nobody at Google, and runs nothing that was checked out.
			comments := what == "pull-requests" && !job.isGoogle() && !job.checksOut()
			if right == "write" && what != "id-token" && !comments {
				wrong("%s: may write %s", name, what)
			}
		}
		found = append(found, stepsBroken(name, job, text)...)
		if !job.isGoogle() {
			if strings.Contains(fmt.Sprint(job), "secrets.") || job.Environment != "" {
				wrong("%s: has an environment or secrets and is nobody at Google", name)
			}
			continue
		}
		_, strangers := flow.On["pull_request"]
		if strangers && job.Environment == "infra-plan" {
			found = append(found, planBroken(name, job)...)
			continue
		}
		if strangers && !strings.HasPrefix(job.If, "github.event_name == 'workflow_dispatch' && ") {
			wrong("%s: a pull request reaches it", name)
		}
		group := flow.Concurrency
		if job.Concurrency.Group != "" {
			group = job.Concurrency
		}
		if job.Environment == "" || group != (concurrency{"production", "false"}) {
			wrong("%s: changes production without its environment %q, or beside another that does: %v", name, job.Environment, group)
		}
	}
	return found
}

// planBroken lists what is wrong with a job that is somebody at Google when a pull
// request says so: it may be no other than who reads, not for a fork, without secrets.
func planBroken(name string, job job) []string {
	var found []string
	if !strings.HasPrefix(job.If, "github.event_name == 'pull_request' && github.event.pull_request.head.repo.full_name == github.repository &&") || strings.Contains(job.If, "||") {
		found = append(found, name+": a fork's pull request reaches it")
	}
	if strings.Contains(fmt.Sprint(job), "secrets.") {
		found = append(found, name+": a pull request reads secrets")
	}
	for _, s := range job.Steps {
		if account := s.With["service_account"]; account != "" && account != "infra-plan@${{ vars.PROJECT_ID }}.iam.gserviceaccount.com" {
			found = append(found, name+": a pull request is "+account)
		}
	}
	return found
}

func stepsBroken(name string, job job, text string) []string {
	var found []string
	wrong := func(format string, args ...any) { found = append(found, name+": "+fmt.Sprintf(format, args...)) }
	checkedOut := false
	for _, s := range job.Steps {
		if s.Uses != "" && !regexp.MustCompile(`(?m)`+regexp.QuoteMeta(s.Uses)+` # v\d+\.\d+\.\d+$`).MatchString(text) ||
			s.Uses != "" && !regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40}$`).MatchString(s.Uses) {
			wrong("%s is not pinned to a commit with its version beside it", s.Uses)
		}
		action, _, _ := strings.Cut(s.Uses, "@")
		if owner, _, _ := strings.Cut(action, "/"); s.Uses != "" && !slices.Contains([]string{"actions", "google-github-actions", "hashicorp"}, owner) {
			wrong("%s is of somebody whom nobody has looked at", action)
		}
		switch action {
		case "actions/checkout":
			checkedOut = true
			if s.With["persist-credentials"] != "false" {
				wrong("the checkout leaves its credentials behind")
			}
		case "actions/setup-go":
			if s.With["cache"] != "false" && job.isGoogle() {
				wrong("what it builds may come from another job's cache")
			}
		case "google-github-actions/auth":
			if !checkedOut {
				wrong("the checkout would take away the credentials")
			}
			if s.With["workload_identity_provider"] != "${{ vars.WIF_PROVIDER }}" || s.With["credentials_json"] != "" {
				wrong("it signs in with %v", s.With)
			}
		}
		if strings.Contains(s.Run, "${{") {
			wrong("%q is put together from what others may write", s.Run)
		}
	}
	return found
}

func TestWorkflowsHoldNothingTheyDoNotNeed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../.github/workflows/*")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	runs := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range broken(string(text)) {
			t.Errorf("%s: %s", filepath.Base(file), what)
		}
		runs = runs || regexp.MustCompile(`(?m)^ +- run: .*\.ci/run$`).Match(text)
	}
	if !runs {
		t.Error("nothing runs .ci/run")
	}
}

// TestTheHouseIsKeptUpToDate holds that every kind of thing that others publish is
// renewed, and that somebody is asked about every folder that decides who may do what.
func TestTheHouseIsKeptUpToDate(t *testing.T) {
	t.Parallel()
	var bot struct {
		Version int
		Updates []struct {
			Ecosystem string `yaml:"package-ecosystem"`
			Directory string
			Schedule  map[string]string
			Cooldown  map[string]int
			Groups    map[string]map[string][]string
			Ignore    []struct {
				Name     string `yaml:"dependency-name"`
				Versions []string
			}
		}
	}
	read(t, ".github/dependabot.yml", &bot)
	var kinds []string
	for _, u := range bot.Updates {
		for _, i := range u.Ignore { // what is held back is held back by a decision
			if pages, _ := filepath.Glob("../docs/adr/0024-*.md"); i.Name != "github.com/redis/go-redis/v9" || len(pages) != 1 {
				t.Errorf("%s is never renewed past %v", i.Name, i.Versions)
			}
		}
		kinds = append(kinds, u.Ecosystem+" "+u.Directory)
		if u.Schedule["interval"] == "" || u.Cooldown["default-days"] < 7 {
			t.Errorf("%s: looked at %q, taken after %d days", u.Ecosystem, u.Schedule["interval"], u.Cooldown["default-days"])
		}
	}
	if want := []string{"gomod /", "github-actions /", "terraform /infra"}; !slices.Equal(kinds, want) {
		t.Errorf("renewed are %q, want %q", kinds, want)
	}
	owned := map[string]string{}
	for line := range strings.Lines(page(t, ".github/CODEOWNERS")) {
		if words := strings.Fields(line); len(words) == 2 {
			owned[words[0]] = words[1]
			if _, err := os.Stat(filepath.Join("..", words[0])); words[0] != "*" && err != nil {
				t.Errorf("nobody needs to own %s: %v", words[0], err)
			}
		}
	}
	for _, path := range []string{"/.github/", "/.ci/", "/cloudbuild.yaml", "/infra/", "/migrations/", "/shared/identity/", "/shared/function/stage/"} {
		if !strings.HasSuffix(owned[path], "/owners") {
			t.Errorf("%s is owned by %q", path, owned[path])
		}
	}
}

// TestABrokenWorkflowIsNoticed breaks the workflows one way at a time.
func TestABrokenWorkflowIsNoticed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ file, from, to, notice string }{
		{"deploy", "permissions: {}", "permissions: {contents: read}", "every job has the permissions"},
		{"deploy", "permissions: {}\n", "", "every job has the permissions"},
		{"deploy", "  workflow_dispatch:", "  pull_request_target:", "strangers wrote"},
		{"deploy", "branches: [main]", "branches: ['**']", "a push to any"},
		{"deploy", "    branches: [main]\n", "    tags: [v1]\n", "a push to any"},
		{"deploy", " # v3.0.0", "", "not pinned"},
		{"deploy", "auth@7c6bc770dae815cd3e89ee6cdf493a5fab2cc093 # v3.0.0", "auth@v3 # v3.0.0", "not pinned"},
		{"deploy", "persist-credentials: false", "persist-credentials: true", "leaves its credentials"},
		{"deploy", "cache: false # nothing", "cache: true # nothing", "another job's cache"},
		{"deploy", `-function "$FUNCTION"`, "-function ${{ matrix.function }}", "put together"},
		{"deploy", "cancel-in-progress: false", "cancel-in-progress: true", "beside another"},
		{"deploy", "group: production", "group: deploy", "beside another"},
		{"deploy", "    environment: prod-migrate\n", "", "without its environment"},
		{"deploy", "actions: read # to ask which commit was deployed last", "actions: write # to ask", "may write actions"},
		{"deploy", "contents: read # to check out", "contents: read", "does not say what it is for"},
		{"deploy", "runs-on: ubuntu-24.04", "runs-on: self-hosted", "a machine of somebody's"},
		{"deploy", "    timeout-minutes: 10\n", "", "no time limit"},
		{"deploy", "    outputs:\n", "    environment: prod-auth\n    outputs:\n", "is nobody at Google"},
		{"deploy", "          service_account: deploy-migrate@", "          credentials_json: ${{ secrets.KEY }}\n          service_account: deploy-migrate@", "signs in with"},
		{"deploy", "workload_identity_provider: ${{ vars.WIF_PROVIDER }}", "workload_identity_provider: elsewhere", "signs in with"},
		{"deploy", "timeout-minutes: 10", "timeout-minutes: 10\n    continue-on-error: true", "field continue-on-error not found"},
		{"infra", "    if: github.event_name == 'workflow_dispatch' && github.ref == 'refs/heads/main'\n", "", "a pull request reaches it"},
		{"infra", "      group: production", "      group: infra", "beside another"},
		{"infra", "    environment: infra\n", "", "without its environment"},
		{"infra", "    concurrency:\n      group: infra-${{ github.ref }}\n      cancel-in-progress: true\n", "", "two may run at once"},
		{"infra", "github.event.pull_request.head.repo.full_name == github.repository &&", "true &&", "a fork's pull request reaches it"},
		{"infra", "vars.PROJECT_ID != ''", "vars.PROJECT_ID != '' || true", "a fork's pull request reaches it"},
		{"infra", "    environment: infra-plan\n", "    environment: infra\n", "a pull request reaches it"},
		{"infra", "service_account: infra-plan@", "service_account: terraform@", "a pull request is terraform@"},
		{"infra", "TF_VAR_upstash_api_key=nothing", "TF_VAR_upstash_api_key=${{ secrets.UPSTASH_API_KEY }} # nothing", "a pull request reads secrets"},
		{"infra", "pull-requests: write # to comment\n    steps:\n", "pull-requests: write # to comment\n    steps:\n      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1\n        with: {persist-credentials: false}\n", "may write pull-requests"},
		{"infra", "pull-requests: write # to comment", "pull-requests: write # to comment\n      id-token: write # x", "may write pull-requests"},
		{"infra", "$NUMBER", "${{ github.event.number }}", "put together"},
		{"infra", "hashicorp/setup-terraform@", "hashicarp/setup-terraform@", "whom nobody has looked at"},
		{"deploy", "if [[ $EVENT", "echo PATH=x >>\"$GITHUB_ENV\"; if [[ $EVENT", "changes how later steps run"},
		{"deploy", "vars.PROJECT_ID != ''", "github.actor == 'me'", "who pressed the button"},
		{"deploy", "vars.PROJECT_ID != ''", "contains(github.ref, 'main')", "a text within a text"},
		{"deploy", "WIF: ${{ vars.WIF }}", "WIF: ${{ toJSON(secrets) }}", "secrets that it does not name"},
		{"deploy", "    outputs:\n", "    secrets: inherit\n    outputs:\n", "field secrets not found"},
		{"deploy", "EVENT: ${{ github.event_name }}", "ACTIONS_ALLOW_UNSECURE_COMMANDS: true", "from what is printed"},
		{"ci", "    name: check\n", "    name: check\n    env: {KEY: \"${{ secrets.KEY }}\"}\n", "is nobody at Google"},
	} {
		text, err := os.ReadFile("../.github/workflows/" + test.file + ".yml")
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(text), test.from, test.to)
		if changed == string(text) {
			t.Errorf("%s.yml has no %q", test.file, test.from)
		}
		if found := strings.Join(broken(changed), "\n"); !strings.Contains(found, test.notice) {
			t.Errorf("%s.yml with %q for %q: found %q, want %q", test.file, test.to, test.from, found, test.notice)
		}
	}
	// Whoever signs in before checking out loses what it signed in with.
	text, err := os.ReadFile("../.github/workflows/deploy.yml")
	if err != nil {
		t.Fatal(err)
	}
	early := strings.ReplaceAll(string(text), "actions/checkout@", "actions/cache@")
	if found := broken(early); !strings.Contains(strings.Join(found, "\n"), "would take away the credentials") {
		t.Errorf("without a checkout: %q", found)
	}
}

// TestDeployersAreOneEach holds that a function is deployed from its environment, by
// its own account, after the migrations.
func TestDeployersAreOneEach(t *testing.T) {
	t.Parallel()
	var flow workflow
	read(t, ".github/workflows/deploy.yml", &flow)
	deploy := flow.Jobs["deploy"]
	if deploy.Environment != "prod-${{ matrix.function }}" || deploy.Env["FUNCTION"] != "${{ matrix.function }}" {
		t.Errorf("a function is deployed from the environment %s", deploy.Environment)
	}
	for name, job := range flow.Jobs {
		for _, s := range job.Steps {
			account, function := s.With["service_account"], strings.TrimPrefix(job.Environment, "prod-")
			if account != "" && account != "deploy-"+function+"@${{ vars.PROJECT_ID }}.iam.gserviceaccount.com" {
				t.Errorf("%s is %s from the environment %s", name, account, job.Environment)
			}
		}
	}
	if needs := fmt.Sprint(deploy.Needs); needs != "[plan migrate]" || !strings.Contains(deploy.If, "needs.migrate.result == 'success' || needs.migrate.result == 'skipped'") {
		t.Errorf("functions are deployed after %s, if %s", needs, deploy.If)
	}
	if first := slices.IndexFunc(flow.Jobs["plan"].Steps, func(s step) bool { return s.Run != "" }); flow.Jobs["plan"].Steps[first].Name != "doctor" {
		t.Error("the doctor does not come first")
	}
}

// TestTheDoctorAdmitsTheDeployment has the doctor read the workflows beside what
// Terraform would print for the functions that there are.
func TestTheDoctorAdmitsTheDeployment(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../infra/doctor/testdata/wif.json")
	if err != nil {
		t.Fatal(err)
	}
	var wif map[string]any
	if err := json.Unmarshal(text, &wif); err != nil {
		t.Fatal(err)
	}
	deployers, services := map[string]any{}, map[string]any{}
	for _, name := range []string{"auth", "migrate"} {
		deployers[name], services[name] = wif["deployers"].(map[string]any)["auth"], wif["functions"].(map[string]any)["auth"]
	}
	for _, fn := range functions.All {
		deployers[fn.Name], services[fn.Name] = deployers["auth"], services["auth"]
	}
	named := func(all map[string]any) map[string]any {
		for name, one := range all {
			like, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			var own any
			if err := json.Unmarshal(bytes.ReplaceAll(bytes.ReplaceAll(like, []byte("-auth"), []byte("-"+name)), []byte(`"auth"`), []byte(`"`+name+`"`)), &own); err != nil {
				t.Fatal(err)
			}
			all[name] = own
		}
		return all
	}
	wif["deployers"], wif["functions"] = named(deployers), named(services)
	config, err := json.Marshal(wif)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := command.Run([]string{
		"-config", "-", "-workflows", "../.github/workflows", "-root", "..",
		"-var", "vars.PROJECT_ID=" + wif["project_id"].(string), "-var", "vars.WIF_PROVIDER=" + wif["provider"].(map[string]any)["name"].(string),
	}, bytes.NewReader(config), &out, &errs)
	if code != 0 || !strings.HasPrefix(out.String(), "ADMITTED\n") || !strings.Contains(out.String(), `infra.yml: job "apply" signs in elsewhere`) || !strings.Contains(out.String(), fmt.Sprintf("each of the %d environments may impersonate its own deployer, and no other", len(functions.All)+1)) {
		t.Errorf("exit code %d: %s%s", code, out.String(), errs.String())
	}
}
