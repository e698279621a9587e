package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// desk is a clone of the repository, and a PATH with nothing but the fakes.
type desk struct {
	t         *testing.T
	dir, path string
}

func newDesk(t *testing.T) desk {
	t.Helper()
	d := desk{t, t.TempDir(), t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gcloud", "gh", "terraform"} {
		if err := os.Symlink(self, filepath.Join(d.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(d.dir, "infra"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d desk) run(args ...string) (code int, said string) {
	d.t.Helper()
	var out bytes.Buffer
	code = Run(d.t.Context(), args, d.path, d.dir, &out)
	return code, out.String()
}

func (d desk) write(path, text string) {
	d.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// applied leaves what Terraform prints after it was applied.
func (d desk) applied() {
	d.t.Helper()
	d.write(filepath.Join(d.path, "wif.json"), `{"project_id":"acme-dash","project_number":"123456789012",
		"provider":{"name":"projects/123456789012/locations/global/workloadIdentityPools/github/providers/dashboard"},
		"deployers":{"auth":{"environment":"prod-auth"},"migrate":{"environment":"prod-migrate"}},"functions":{"auth":{"region":"europe-west1"}}}`)
}

// log lists what was done, a line a call.
func (d desk) log() []string {
	var all []string
	for _, c := range calls(d.path) {
		all = append(all, c.line())
	}
	return all
}

var (
	cloudArgs  = []string{"cloud", "-project", "acme-dash", "-repository", "acme/dash"}
	githubArgs = []string{"github", "-repository", "acme/dash"}
)

func TestTheCloudIsMadeReadyOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	code, said := d.run(cloudArgs...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	log := strings.Join(d.log(), "\n")
	for _, want := range []string{
		"storage buckets create gs://acme-dash-terraform --project=acme-dash --location=europe-west1 --uniform-bucket-level-access --public-access-prevention",
		"storage buckets update gs://acme-dash-terraform --versioning",
		"iam service-accounts create terraform",
		"--member=serviceAccount:terraform@acme-dash.iam.gserviceaccount.com --role=roles/run.admin --condition=None",
		"--role=roles/iam.roleAdmin --condition=None",
		"--role=roles/storage.admin --condition=None",
		"providers create-oidc github",
		"--workload-identity-pool=terraform --issuer-uri=https://token.actions.githubusercontent.com --attribute-mapping=google.subject='gh:' + assertion.repository_id + ':infra',attribute.repository_id=assertion.repository_id" +
			" --attribute-condition=assertion.repository_owner_id == '65' && assertion.repository_id == '74' && assertion.runner_environment == 'github-hosted' && has(assertion.environment) && assertion.environment == 'infra' && " +
			"assertion.ref == 'refs/heads/main' && assertion.ref_type == 'branch' && assertion.event_name == 'workflow_dispatch' && assertion.workflow_ref.endsWith('/.github/workflows/infra.yml@refs/heads/main')\n",
		"--workload-identity-pool=infra-plan --issuer-uri=https://token.actions.githubusercontent.com --attribute-mapping=google.subject='gh:' + assertion.repository_id + ':infra-plan',attribute.repository_id=assertion.repository_id" +
			" --attribute-condition=assertion.repository_owner_id == '65' && assertion.repository_id == '74' && assertion.runner_environment == 'github-hosted' && has(assertion.environment) && assertion.environment == 'infra-plan' && " +
			"assertion.event_name == 'pull_request' && assertion.workflow_ref.contains('/.github/workflows/infra.yml@refs/pull/')\n",
		"service-accounts add-iam-policy-binding infra-plan@acme-dash.iam.gserviceaccount.com --project=acme-dash --role=roles/iam.workloadIdentityUser --member=principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/infra-plan/attribute.repository_id/74",
		"/projects/123456789012/locations/global/workloadIdentityPools/terraform/attribute.repository_id/74",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("it lacks %s:\n%s", want, log)
		}
	}
	// Who plans a pull request reads, and no more than this.
	var may []string
	for _, line := range d.log() {
		if strings.Contains(line, "--member=serviceAccount:infra-plan@") {
			may = append(may, line[strings.Index(line, "--role="):])
		}
	}
	if want := []string{"--role=roles/browser --condition=None", "--role=roles/serviceusage.serviceUsageConsumer --condition=None", "--role=roles/storage.objectViewer"}; !slices.Equal(may, want) {
		t.Errorf("infra-plan may %q", may)
	}
	for _, never := range []string{"owner ", "editor", "projects create", "allUsers"} {
		if strings.Contains(log, "roles/"+strings.TrimSpace(never)) || strings.Contains(log, never) {
			t.Errorf("it has %s:\n%s", never, log)
		}
	}
	text, err := os.ReadFile(filepath.Join(d.dir, "infra", "terraform.tfvars"))
	if err != nil || !regexp.MustCompile(`(?m)^project_number       = "123456789012"$`).Match(text) || !strings.Contains(string(text), `github_repository_id = "74"`) {
		t.Errorf("%s, %v", text, err)
	}
	if !strings.Contains(said, "terraform -chdir=infra init -backend-config=bucket=acme-dash-terraform\n") {
		t.Errorf("it does not say what is next: %s", said)
	}

	// The operator completes the file; a second run leaves it and everything else.
	d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "mine")
	first := len(d.log())
	if code, said := d.run(cloudArgs...); code != 0 || !strings.Contains(said, "terraform.tfvars is there") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for _, line := range d.log()[first:] {
		if strings.Contains(line, "create") || strings.Contains(line, "projects add-iam-policy-binding") {
			t.Errorf("the second run did it again: %s", line)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(d.dir, "infra", "terraform.tfvars")); string(text) != "mine" {
		t.Errorf("the file was overwritten: %s", text)
	}
	if again := strings.Join(d.log()[first:], "\n"); !strings.Contains(again, "providers update-oidc github") {
		t.Errorf("the provider stays as it was: %s", again)
	}
}

func TestAProjectIsMadeWhereSomebodyPays(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(filepath.Join(d.path, "no-project"), "")
	if code, said := d.run(cloudArgs...); code != 1 || !strings.Contains(said, "say who pays for it: -billing ACCOUNT") || len(d.log()) > 0 {
		t.Errorf("exit code %d, %s, done was %q", code, said, d.log())
	}
	if code, said := d.run(append(cloudArgs, "-billing", "012345-6789AB-CDEF01")...); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if log := d.log(); log[0] != "gcloud projects create acme-dash" || log[1] != "gcloud billing projects link acme-dash --billing-account=012345-6789AB-CDEF01" {
		t.Errorf("first was done %q", log[:2])
	}
}

func TestWhoAppliesMayKeepABudget(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if code, said := d.run(cloudArgs...); code != 0 || strings.Contains(strings.Join(d.log(), "\n"), "billing") {
		t.Fatalf("without a budget: exit code %d: %s", code, said)
	}
	const account = "012345-6789AB-CDEF01"
	give := "gcloud billing accounts add-iam-policy-binding " + account + " --member=serviceAccount:terraform@acme-dash.iam.gserviceaccount.com --role=roles/billing.costsManager"
	for range 2 {
		if code, said := d.run(append(cloudArgs, "-budget", account)...); code != 0 {
			t.Fatalf("exit code %d: %s", code, said)
		}
		if given := slices.DeleteFunc(d.log(), func(line string) bool { return line != give }); len(given) != 1 {
			t.Errorf("%s: done %d times", give, len(given))
		}
	}
}

func TestGitHubIsToldOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.applied()
	d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "region = \"europe-west1\"\n")
	code, said := d.run(githubArgs...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	inputs := map[string]string{}
	for _, c := range calls(d.path) {
		inputs[c.line()] = c.Input
	}
	const repository = "--repo=acme/dash"
	for line, want := range map[string]string{
		"gh variable set PROJECT_ID " + repository: "acme-dash",
		"gh variable set WIF " + repository: `{"project_id":"acme-dash","project_number":"123456789012","provider":{"name":"projects/123456789012/locations/global/workloadIdentityPools/github/providers/dashboard"},` +
			`"deployers":{"auth":{"environment":"prod-auth"},"migrate":{"environment":"prod-migrate"}},"functions":{"auth":{"region":"europe-west1"}}}`,
		"gh variable set REGION " + repository:                             "europe-west1",
		"gh variable set WIF_PROVIDER " + repository:                       "projects/123456789012/locations/global/workloadIdentityPools/github/providers/dashboard",
		"gh variable set WIF_PROVIDER " + repository + " --env=infra":      "projects/123456789012/locations/global/workloadIdentityPools/terraform/providers/github",
		"gh variable set TFVARS " + repository + " --env=infra":            "region = \"europe-west1\"\n",
		"gh variable set WIF_PROVIDER " + repository + " --env=infra-plan": "projects/123456789012/locations/global/workloadIdentityPools/infra-plan/providers/github",
		"gh api --method=POST repos/acme/dash/environments/infra-plan/deployment-branch-policies --raw-field=name=refs/pull/*/merge --raw-field=type=branch --silent": "",
		"gh api --method=PUT repos/acme/dash/environments/prod-auth --input=- --silent":                                                                               `{"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true}}`,
		"gh api --method=PUT repos/acme/dash/environments/prod-migrate --input=- --silent":                                                                            `{"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true}}`,
		"gh api --method=PUT repos/acme/dash/environments/infra --input=- --silent":                                                                                   `{"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true}}`,
		"gh api --method=POST repos/acme/dash/environments/prod-auth/deployment-branch-policies --raw-field=name=main --raw-field=type=branch --silent":               "",
	} {
		if got, called := inputs[line]; !called || got != want {
			t.Errorf("%s: called %t with %q, want %q", line, called, got, want)
		}
	}
	first := len(d.log())
	if code, said := d.run(githubArgs...); code != 0 || len(d.log()) > first {
		t.Errorf("again: exit code %d, done was %q: %s", code, d.log()[first:], said)
	}
	d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "region = \"us-east1\"\n")
	if code, _ := d.run(githubArgs...); code != 0 || !slices.Equal(d.log()[first:], []string{"gh variable set TFVARS " + repository + " --env=infra", "gh variable set TFVARS " + repository + " --env=infra-plan"}) {
		t.Errorf("after a change: exit code %d, done was %q", code, d.log()[first:])
	}
}

// TestTheWorkflowsKnowNoOtherVariables holds that all that the workflows read is
// told to GitHub.
func TestTheWorkflowsKnowNoOtherVariables(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.applied()
	d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "x")
	if code, said := d.run(githubArgs...); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var told []string
	for _, c := range calls(d.path) {
		if c.Args[1] == "variable" {
			told = append(told, c.Args[3])
		}
	}
	var read []string
	for _, name := range []string{"deploy.yml", "infra.yml"} {
		text, err := os.ReadFile("../../.github/workflows/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`\bvars\.([A-Z_]+)`).FindAllStringSubmatch(string(text), -1) {
			read = append(read, found[1])
		}
	}
	slices.Sort(told)
	slices.Sort(read)
	if told, read = slices.Compact(told), slices.Compact(read); !slices.Equal(told, read) {
		t.Errorf("told are %q, read are %q", told, read)
	}
}

func TestADryRunDoesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write(filepath.Join(d.path, "no-project"), "")
	d.applied()
	code, said := d.run(append(cloudArgs, "-dry-run", "-billing", "012345-6789AB-CDEF01")...)
	if code != 0 || !strings.Contains(said, "would run: gcloud storage buckets create") || !strings.Contains(said, "would write infra/terraform.tfvars") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if exists(d.dir, "infra/terraform.tfvars") {
		t.Error("a file was written")
	}
	d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "x")
	if code, said := d.run(append(githubArgs, "-dry-run")...); code != 0 || !strings.Contains(said, "would run: gh variable set TFVARS") || !strings.Contains(said, "would run: gh api --method=POST") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if log := d.log(); len(log) > 0 {
		t.Errorf("done was %q", log)
	}
}

func TestProgramsThatMisbehave(t *testing.T) {
	t.Parallel()
	const denied = "PERMISSION_DENIED: you may not"
	for name, test := range map[string]struct {
		args             []string
		misbehave, wants string
	}{
		"a project that is not ours":    {cloudArgs, "gcloud projects describe\n" + denied, denied},
		"a project without a number":    {cloudArgs, "gcloud projects describe\nsays none", "tells no number"},
		"a project with nothing":        {cloudArgs, "gcloud projects describe\nsays ", "tells no number"},
		"a repository that is not ours": {cloudArgs, "gh api\nHTTP 404", "HTTP 404"},
		"a repository without numbers":  {cloudArgs, "gh api\nsays null", "tells no numbers of acme/dash"},
		"services":                      {cloudArgs, "gcloud services enable\n" + denied, denied},
		"a bucket somebody else has":    {cloudArgs, "gcloud storage buckets create\nHTTPError 409", "HTTPError 409"},
		"buckets we may not see":        {cloudArgs, "gcloud storage buckets list\n" + denied, denied},
		"an account":                    {cloudArgs, "gcloud iam service-accounts create\n" + denied, denied},
		"a policy":                      {cloudArgs, "gcloud projects get-iam-policy\n" + denied, denied},
		"a billing account of others":   {append(slices.Clip(cloudArgs), "-budget", "012345-6789AB-CDEF01"), "gcloud billing accounts\n" + denied, "A billing account's administrator can give that"},
		"a grant":                       {cloudArgs, "gcloud projects add-iam-policy-binding\nUnknown service account", "Unknown service account"},
		"a pool":                        {cloudArgs, "gcloud iam workload-identity-pools create\n" + denied, denied},
		"a provider we may not see":     {cloudArgs, "gcloud iam workload-identity-pools providers describe\n" + denied, denied},
		"a provider":                    {cloudArgs, "gcloud iam workload-identity-pools providers create-oidc\n" + denied, denied},
		"nothing applied":               {githubArgs, "terraform\nNo outputs found", "Terraform must have been applied"},
		"another output":                {githubArgs, "terraform\nsays {}", "is not what infra/outputs.tf prints"},
		"no output":                     {githubArgs, "terraform\nsays ", "is not what infra/outputs.tf prints"},
		"environments we may not see":   {githubArgs, "gh api repos/acme/dash/environments/infra --jq\n" + denied, denied},
		"an environment for everybody":  {githubArgs, "gh api repos/acme/dash/environments/infra --jq\nsays null", "the environment infra may be used from any branch"},
		"an environment":                {githubArgs, "gh api --method=PUT\n" + denied, denied},
		"branches we may not see":       {githubArgs, "gh api repos/acme/dash/environments/infra/deployment-branch-policies\n" + denied, denied},
		"branches that are others":      {githubArgs, "gh api repos/acme/dash/environments/infra/deployment-branch-policies\nsays *", "may be used from *"},
		"variables we may not see":      {githubArgs, "gh variable list\n" + denied, denied},
		"variables that are none":       {githubArgs, "gh variable list\nsays what", "gh lists no variables"},
		"a variable":                    {githubArgs, "gh variable set\n" + denied, denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.applied()
			if test.args[0] == "github" {
				d.write(filepath.Join(d.dir, "infra", "terraform.tfvars"), "x")
			}
			d.write(filepath.Join(d.path, "misbehave"), test.misbehave)
			code, said := d.run(test.args...)
			if code != 1 || !strings.Contains(said, test.wants) || !strings.Contains(said, "run the same again") {
				t.Errorf("exit code %d: %s", code, said)
			}
			// What went wrong is mended, and the same is run again.
			if err := os.Remove(filepath.Join(d.path, "misbehave")); err != nil {
				t.Fatal(err)
			}
			if code, said := d.run(test.args...); code != 0 {
				t.Errorf("then: exit code %d: %s", code, said)
			}
			once := map[string]int{}
			for _, line := range d.log() {
				if once[line]++; once[line] > 1 && (strings.Contains(line, "create") || strings.Contains(line, "--method=")) {
					t.Errorf("done twice: %s", line)
				}
			}
		})
	}
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for want, args := range map[string][]string{
		"say what to do: bootstrap cloud":       {},
		"say what to do":                        {"clouds"},
		"not defined: -what":                    {"cloud", "-what"},
		"bootstrap github; see":                 {"github", "-repository", "acme/dash", "more"},
		`-project is "123456789012" and must`:   {"cloud", "-project", "123456789012", "-repository", "acme/dash"},
		`-project is "" and must be a project`:  {"cloud", "-repository", "acme/dash"},
		`-project is "Acme Dash" and must`:      {"cloud", "-project", "Acme Dash", "-repository", "acme/dash"},
		`-region is "Europe" and must be a reg`: {"cloud", "-project", "acme-dash", "-repository", "acme/dash", "-region", "Europe"},
		`-repository is "dash" and must be OWN`: {"github", "-repository", "dash"},
		`-billing is "mine" and must be a bill`: {"cloud", "-project", "acme-dash", "-repository", "acme/dash", "-billing", "mine"},
		`-budget is "50" and must be a billing`: {"cloud", "-project", "acme-dash", "-repository", "acme/dash", "-budget", "50"},
		"not defined: -budget":                  {"github", "-budget", "012345-6789AB-CDEF01"},
	} {
		if code, said := d.run(args...); code != 2 || !strings.Contains(said, want) {
			t.Errorf("%q: exit code %d, %s", args, code, said)
		}
	}
	if code, said := d.run("-h"); code != 0 || said != usage {
		t.Errorf("-h: exit code %d, %s", code, said)
	}
	d.applied()
	if code, said := d.run(githubArgs...); code != 1 || !strings.Contains(said, "is to be told to GitHub too") {
		t.Errorf("without variables: exit code %d, %s", code, said)
	}
	for _, program := range []string{"gh", "gcloud"} {
		if err := os.Remove(filepath.Join(d.path, program)); err != nil {
			t.Fatal(err)
		}
		if code, said := d.run(cloudArgs...); code != 1 || !strings.Contains(said, "this takes "+program+": https://") {
			t.Errorf("without %s: exit code %d, %s", program, code, said)
		}
	}
}

// TestWhatIsPrintedCanBePasted has a shell read the lines back.
func TestWhatIsPrintedCanBePasted(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"plain", "", "two words", `it's "quoted"`, "$HOME `x` \\", "a'b'c", "*?[]", "ü"} {
		text, err := exec.Command("sh", "-c", "printf %s "+quoted(arg)).Output()
		if err != nil || string(text) != arg {
			t.Errorf("%q is read as %q: %v", arg, text, err)
		}
	}
}
