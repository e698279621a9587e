package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apis are those that Terraform needs to turn on the others.
var apis = []string{
	"cloudresourcemanager.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com", "serviceusage.googleapis.com", "storage.googleapis.com", "sts.googleapis.com",
}

// door is a way in from GitHub: an account, and the jobs of infra.yml that may be it,
// which are those of one environment. Each has a pool of its own: whoever comes in by
// one is known to no other.
type door struct {
	account, does, environment, pool string
	roles                            []string // on the project
	state                            string   // the role on the bucket of Terraform's state
	conditions                       []string // beside the repository and the environment
}

// applying is the door for whoever applies infra. With projectIamAdmin the account can
// give itself any other role: who may start it decides.
var applying = door{
	account: "terraform", does: "applies infra", environment: "infra", pool: "terraform", roles: applyingRoles, state: "roles/storage.objectUser",
	conditions: []string{
		"assertion.ref == 'refs/heads/main'", "assertion.ref_type == 'branch'", "assertion.event_name == 'workflow_dispatch'",
		"assertion.workflow_ref.endsWith('/.github/workflows/infra.yml@refs/heads/main')",
	},
}

// planning is the door for pull requests. Their plan compares with Terraform's state
// and asks Google for nothing but the project. The state knows the password of Redis
// where Upstash has it, so that somebody has to look at a change before it is planned.
var planning = door{
	account: "infra-plan", does: "plans infra", environment: "infra-plan", pool: "infra-plan", state: "roles/storage.objectViewer",
	roles:      []string{"roles/browser", "roles/serviceusage.serviceUsageConsumer"},
	conditions: []string{"assertion.event_name == 'pull_request'", "assertion.workflow_ref.contains('/.github/workflows/infra.yml@refs/pull/')"},
}

var applyingRoles = []string{
	"roles/artifactregistry.admin", "roles/cloudscheduler.admin", "roles/cloudsql.admin", "roles/compute.loadBalancerAdmin", "roles/compute.securityAdmin",
	"roles/iam.roleAdmin", "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountUser", "roles/iam.workloadIdentityPoolAdmin",
	"roles/logging.configWriter", // an alert on a log line takes logging.notificationRules.create
	"roles/monitoring.admin",
	"roles/resourcemanager.projectIamAdmin", "roles/run.admin", "roles/secretmanager.admin", "roles/serviceusage.serviceUsageAdmin",
	"roles/storage.admin", // the bucket that sources are uploaded to
}

// cloud makes what Terraform stands on and therefore cannot make.
func cloud(sh shell, o options) error {
	number, err := project(sh, o)
	if err != nil {
		return err
	}
	ids, err := sh.ask("gh", "api", "repos/"+o.repository, "--jq", `"\(.owner.id) \(.id)"`)
	if err != nil {
		return err
	}
	owner, repository, found := strings.Cut(ids, " ")
	if !found {
		return fmt.Errorf("gh tells no numbers of %s but %q", o.repository, ids)
	}
	if err := sh.do("", "gcloud", append([]string{"services", "enable", "--project=" + o.project}, apis...)...); err != nil {
		return err
	}
	if err := state(sh, o); err != nil {
		return err
	}
	for _, d := range []door{applying, planning} {
		if err := d.open(sh, o, number, owner, repository); err != nil {
			return err
		}
	}
	if err := budget(sh, o); err != nil {
		return err
	}
	return variables(sh, o, number, owner, repository)
}

// project returns the project's number, and makes the project where somebody pays.
func project(sh shell, o options) (number string, err error) {
	describe := []string{"projects", "describe", o.project, "--format=value(projectNumber)"}
	number, err = sh.ask("gcloud", describe...)
	if err == nil && strings.Trim(number, "0123456789") != "" || err == nil && number == "" {
		return "", fmt.Errorf("gcloud tells no number of %s but %q", o.project, number)
	}
	if err == nil {
		sh.say("the project %s is there", o.project)
		return number, nil
	}
	if !absent(err) || o.billing == "" {
		return "", fmt.Errorf("%w\nIf there is no such project yet, say who pays for it: -billing ACCOUNT (gcloud billing accounts list)", err)
	}
	for _, make := range [][]string{{"projects", "create", o.project}, {"billing", "projects", "link", o.project, "--billing-account=" + o.billing}} {
		if err := sh.do("", "gcloud", make...); err != nil {
			return "", err
		}
	}
	if sh.dry {
		return "PROJECT_NUMBER", nil
	}
	return sh.ask("gcloud", describe...)
}

func bucket(o options) string { return "gs://" + o.project + "-terraform" }

// state makes the bucket of Terraform's state, which knows a few secrets: nobody
// can make it public, and what is overwritten can be brought back. Everybody can work
// out its name: one that is not among the project's own is not taken for ours.
func state(sh shell, o options) error {
	name := strings.TrimPrefix(bucket(o), "gs://")
	has, err := sh.ask("gcloud", "storage", "buckets", "list", "--project="+o.project, "--filter=name="+name, "--format=value(name)")
	switch {
	case err != nil && !(sh.dry && absent(err)):
		return err
	case has == name:
		sh.say("the bucket %s is there", bucket(o))
	default:
		if err := sh.do("", "gcloud", "storage", "buckets", "create", bucket(o), "--project="+o.project, "--location="+o.region, "--uniform-bucket-level-access", "--public-access-prevention"); err != nil {
			return err
		}
	}
	return sh.do("", "gcloud", "storage", "buckets", "update", bucket(o), "--versioning")
}

func (d door) email(o options) string {
	return d.account + "@" + o.project + ".iam.gserviceaccount.com"
}

func (d door) open(sh shell, o options, number, owner, repository string) error {
	if err := d.grant(sh, o); err != nil {
		return err
	}
	return d.admit(sh, o, number, owner, repository)
}

// grant makes the account with what it may do.
func (d door) grant(sh shell, o options) error {
	err := sh.ensure("the account "+d.email(o),
		[]string{"gcloud", "iam", "service-accounts", "describe", d.email(o), "--project=" + o.project},
		[]string{"gcloud", "iam", "service-accounts", "create", d.account, "--project=" + o.project, "--display-name=" + d.does})
	if err != nil {
		return err
	}
	if err := give(sh, d.email(o), []string{"projects"}, o.project, d.roles, "--condition=None"); err != nil {
		return err
	}
	return sh.do("", "gcloud", "storage", "buckets", "add-iam-policy-binding", bucket(o), "--member=serviceAccount:"+d.email(o), "--role="+d.state)
}

// give gives an account the roles which it does not have on a thing of a kind.
func give(sh shell, email string, kind []string, name string, roles []string, flags ...string) error {
	member := "serviceAccount:" + email
	has, err := sh.ask("gcloud", slices.Concat(kind, []string{"get-iam-policy", name, "--flatten=bindings[].members", "--filter=bindings.members=" + member, "--format=value(bindings.role)"})...)
	if err != nil && !(sh.dry && absent(err)) {
		return err
	}
	for _, role := range roles {
		if slices.Contains(strings.Fields(has), role) {
			continue
		}
		if err := sh.do("", "gcloud", slices.Concat(kind, []string{"add-iam-policy-binding", name, "--member=" + member, "--role=" + role}, flags)...); err != nil {
			return err
		}
	}
	return nil
}

// budget lets the account that applies infra keep a budget, which belongs to who pays
// and not to the project: applied by a person, it takes that person's rights.
func budget(sh shell, o options) error {
	if o.budget == "" {
		return nil
	}
	if err := give(sh, applying.email(o), []string{"billing", "accounts"}, o.budget, []string{"roles/billing.costsManager"}); err != nil {
		return fmt.Errorf("%w\nA billing account's administrator can give that; or apply without the variable budget", err)
	}
	return nil
}

// provider is what each pool calls the one that admits GitHub's tokens. The pools are
// not that of the deployments, which Terraform makes: it cannot make the door that it
// comes in by.
const provider = "github"

// admit lets one workflow of one repository be that account, from its environment.
func (d door) admit(sh shell, o options, number, owner, repository string) error {
	pools := []string{"iam", "workload-identity-pools"}
	where := []string{"--project=" + o.project, "--location=global"}
	call := func(words ...string) []string { return slices.Concat([]string{"gcloud"}, pools, words, where) }
	if err := sh.ensure("the pool "+d.pool, call("describe", d.pool), call("create", d.pool, "--display-name="+d.does+" from GitHub")); err != nil {
		return err
	}
	condition := strings.Join(append([]string{
		"assertion.repository_owner_id == '" + owner + "'",
		"assertion.repository_id == '" + repository + "'",
		"assertion.runner_environment == 'github-hosted'",
		"has(assertion.environment) && assertion.environment == '" + d.environment + "'",
	}, d.conditions...), " && ")
	in := slices.Concat(where, []string{"--workload-identity-pool=" + d.pool})
	tell := func(verb string, words ...string) []string {
		return slices.Concat(pools, []string{"providers", verb, provider}, in, words)
	}
	shape := []string{
		"--issuer-uri=https://token.actions.githubusercontent.com",
		"--attribute-mapping=google.subject='gh:' + assertion.repository_id + ':" + d.environment + "',attribute.repository_id=assertion.repository_id",
		"--attribute-condition=" + condition,
	}
	// An earlier one may have been made for another repository.
	verb := "update-oidc"
	if _, err := sh.ask("gcloud", tell("describe")...); err != nil {
		if !absent(err) {
			return err
		}
		verb = "create-oidc"
	}
	if err := sh.do("", "gcloud", tell(verb, shape...)...); err != nil {
		return err
	}
	return sh.do("", "gcloud", "iam", "service-accounts", "add-iam-policy-binding", d.email(o), "--project="+o.project, "--role=roles/iam.workloadIdentityUser",
		"--member=principalSet://iam.googleapis.com/projects/"+number+"/locations/global/workloadIdentityPools/"+d.pool+"/attribute.repository_id/"+repository)
}

// variables writes what Terraform must be told, unless it has been.
func variables(sh shell, o options, number, owner, repository string) error {
	file := filepath.Join("infra", "terraform.tfvars")
	text := fmt.Sprintf(`# See infra/variables.tf for what else there is to choose.
project_id           = %q
project_number       = %q
region               = %q
github_owner_id      = %q
github_repository_id = %q

# Who is told when something is wrong.
alert_emails = []

# The account at Upstash, or redis = { kind = "url" } for a Redis of yours.
upstash_email = "YOU@EXAMPLE.COM"

# Of Cloud SQL, with TF_VAR_migrator_password; or database = { kind = "url" }.
migrator_password_version = 1
`, o.project, number, o.region, owner, repository)
	_, err := os.Stat(filepath.Join(sh.dir, file))
	switch {
	case err == nil:
		sh.say("%s is there", file)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case sh.dry:
		sh.say("would write %s:\n%s", file, text)
	default:
		if err := os.WriteFile(filepath.Join(sh.dir, file), []byte(text), 0o600); err != nil {
			return err
		}
		sh.say("wrote %s", file)
	}
	sh.say("\nNext: complete %s, then\n  terraform -chdir=infra init -backend-config=bucket=%s\n  terraform -chdir=infra apply\n  go run ./infra/bootstrap github -repository %s",
		file, strings.TrimPrefix(bucket(o), "gs://"), o.repository)
	return nil
}
