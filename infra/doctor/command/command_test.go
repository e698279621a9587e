package command_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/infra/doctor/command"
	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
)

var update = flag.Bool("update", false, "rewrite testdata")

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// repository is a folder with a valid set-up, which a test then breaks.
type repository struct {
	t      testing.TB
	folder string
}

func newRepository(t testing.TB) repository {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../testdata")); err != nil {
		t.Fatal(err)
	}
	return repository{t, folder}
}

func (r repository) path(name string) string { return filepath.Join(r.folder, name) }

func (r repository) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r repository) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// replace exchanges text in a file; pairs are what is there and what comes there.
func (r repository) replace(name string, pairs ...string) {
	r.t.Helper()
	text := r.read(name)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			r.t.Fatalf("%s has no %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	r.write(name, text)
}

func (r repository) config(change func(*wif.Config)) {
	r.t.Helper()
	c, err := wif.Parse([]byte(r.read("wif.json")))
	if err != nil {
		r.t.Fatal(err)
	}
	change(&c)
	text, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("wif.json", string(text))
}

func (r repository) deployer(name string, change func(*wif.Deployer)) {
	r.config(func(c *wif.Config) {
		d := c.Deployers[name]
		change(&d)
		c.Deployers[name] = d
	})
}

// claims writes the claims of a push to main, for auth, after a change.
func (r repository) claims(change func(*token.Claims)) {
	r.t.Helper()
	push, _ := token.Find("push-main")
	_, c := push.Claims(token.Origin{
		Owner: "octo-org", OwnerID: "65", Repository: "octo-repo", RepositoryID: "74", Environment: "prod-auth", Workflow: "deploy.yml", Issuer: token.Issuer,
		Audience: "https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/providers/dashboard",
	}, now)
	change(&c)
	text, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("claims.json", string(text))
}

func (r repository) run(stdin string, args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	var out, complaints bytes.Buffer
	args = append([]string{"-config", r.path("wif.json"), "-root", r.folder, "-now", now.Format(time.RFC3339)}, args...)
	for i, arg := range args {
		if arg == "claims.json" || arg == "jwks.json" || arg == "token" {
			args[i] = r.path(arg)
		}
	}
	code = command.Run(args, strings.NewReader(stdin), &out, &complaints)
	return code, out.String(), complaints.String()
}

const (
	deploy    = ".github/workflows/deploy.yml"
	condition = "assertion.repository_id == '74'"
	pool      = "projects/123456789012/locations/global/workloadIdentityPools/github"
)

func setCondition(text string) func(repository) {
	return func(r repository) {
		r.config(func(c *wif.Config) { c.Provider.AttributeCondition = text })
	}
}

func alterCondition(pairs ...string) func(repository) {
	return func(r repository) {
		r.config(func(c *wif.Config) {
			for i := 0; i < len(pairs); i += 2 {
				if !strings.Contains(c.Provider.AttributeCondition, pairs[i]) {
					r.t.Fatalf("the condition has no %q", pairs[i])
				}
				c.Provider.AttributeCondition = strings.ReplaceAll(c.Provider.AttributeCondition, pairs[i], pairs[i+1])
			}
		})
	}
}

func setMapping(key, text string) func(repository) {
	return func(r repository) {
		r.config(func(c *wif.Config) { c.Provider.AttributeMapping[key] = text })
	}
}

func setMember(member string) func(repository) {
	return func(r repository) { r.deployer("auth", func(d *wif.Deployer) { d.Members[0].Member = member }) }
}

func alterWorkflow(pairs ...string) func(repository) {
	return func(r repository) { r.replace(deploy, pairs...) }
}

func alterConfig(change func(*wif.Config)) func(repository) {
	return func(r repository) { r.config(change) }
}

func alterAuth(change func(*wif.Deployer)) func(repository) {
	return func(r repository) { r.deployer("auth", change) }
}

func alterClaims(change func(*token.Claims)) func(repository) {
	return func(r repository) { r.claims(change) }
}

const (
	providerLine = "workload_identity_provider: " + pool + "/providers/dashboard"
	accountLine  = "service_account: deploy-${{ matrix.function }}@acme-dash-prod.iam.gserviceaccount.com"
	signInStep   = "      - uses: google-github-actions/auth@7c6bc770dae815cd3e89ee6cdf493a5fab2cc093 # v3.0.0\n"
	checkoutStep = "      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1\n        with:\n          persist-credentials: false\n"
	environment  = "    environment: prod-${{ matrix.function }}\n"
)

// cases are the rows of the doctor's checks: each breaks one thing, named by the
// check that finds it first.
var cases = []struct {
	name    string
	code    int
	breakIt func(repository)
	args    []string
}{
	{"W1-no-permission", 1, alterWorkflow("      id-token: write\n", ""), nil},
	{"W1-caller-without-permission", 1, func(r repository) {
		r.replace(deploy, "on:\n  push:\n    branches: [main]\n  workflow_dispatch:\n", "on: workflow_call\n")
		r.write(".github/workflows/release.yml", "on: push\njobs:\n  ship:\n    permissions: {contents: read}\n    uses: ./.github/workflows/deploy.yml\n")
		alterCondition("/deploy.yml@", "/release.yml@")(r)
	}, nil},
	{"W1-nobody-signs-in", 2, alterWorkflow("google-github-actions/auth@", "google-github-actions/setup-gcloud@"), nil},
	{"W1-fork", 1, nil, []string{"-scenario", "fork-auth"}},
	{"W2-checkout-afterwards", 1, alterWorkflow(checkoutStep, "", "      - run: gcloud", checkoutStep+"      - run: gcloud"), nil},
	{"W3-strangers-start-it", 2, func(r repository) {
		r.replace(deploy, "  workflow_dispatch:\n", "  workflow_dispatch:\n  pull_request_target:\n")
		alterCondition("'workflow_dispatch'", "'workflow_dispatch', 'pull_request_target'")(r)
	}, nil},
	{"W3-refused-event-starts-it", 2, alterWorkflow("  workflow_dispatch:\n", "  workflow_dispatch:\n  pull_request:\n"), nil},
	{"W3-nothing-starts-it", 1, alterWorkflow("  push:\n    branches: [main]\n  workflow_dispatch:\n", "  schedule:\n    - cron: '0 4 * * *'\n"), nil},
	{"W3-other-file", 1, func(r repository) {
		if err := os.Rename(r.path(deploy), r.path(".github/workflows/ship.yml")); err != nil {
			r.t.Fatal(err)
		}
	}, nil},
	{"W4-no-environment", 1, alterWorkflow(environment, ""), nil},
	{"W4-other-environment", 1, alterWorkflow("environment: prod-", "environment: Prod-"), nil},
	{"W4-function-left-out", 2, alterWorkflow("[auth, metrics, refresh, web]", "[auth, metrics, web]"), nil},
	{"W5-not-ignored", 2, func(r repository) { r.write(".gitignore", "dist/\n") }, nil},
	{"W5-uploaded", 2, func(r repository) { r.write(".gcloudignore", "dist/\n") }, nil},

	{"W6-self-hosted", 1, alterWorkflow("runs-on: ubuntu-24.04", "runs-on: [self-hosted, linux]"), []string{"-scenario", "push-main-auth"}},
	{"W6-unclear", 2, alterWorkflow("runs-on: ubuntu-24.04", "runs-on: {group: deployers}"), nil},

	{"P1-project-id", 1, alterConfig(func(c *wif.Config) {
		c.Provider.Name = strings.Replace(c.Provider.Name, "123456789012", "acme-dash-prod", 1)
	}), nil},
	{"P1-number-differs", 1, alterConfig(func(c *wif.Config) { c.ProjectNumber = "123456789021" }), nil},
	{"P1-number-is-id", 1, alterConfig(func(c *wif.Config) { c.ProjectNumber = c.ProjectID }), nil},
	{"P1-workflow-names-pool", 1, alterWorkflow(providerLine, "workload_identity_provider: "+pool), nil},
	{"P1-workflow-names-member", 1, alterWorkflow(providerLine, "workload_identity_provider: principalSet://iam.googleapis.com/"+pool+"/attribute.repository/octo-org/octo-repo"), nil},
	{"P1-workflow-names-project-id", 1, alterWorkflow("projects/123456789012/", "projects/acme-dash-prod/"), nil},
	{"P1-workflow-names-audience", 1, alterWorkflow(providerLine, "workload_identity_provider: //iam.googleapis.com/"+pool+"/providers/dashboard"), nil},
	{"P2-other-provider", 1, alterWorkflow("/providers/dashboard", "/providers/dash"), nil},
	{"P2-empty", 1, alterWorkflow(providerLine, "audience: ''"), nil},
	{"P2-empty-variable", 1, alterWorkflow(providerLine, "workload_identity_provider: ${{ vars.WIF_PROVIDER }}"), []string{"-var", "vars.WIF_PROVIDER="}},
	{"P2-unseen-variable", 0, alterWorkflow(providerLine, "workload_identity_provider: ${{ vars.WIF_PROVIDER }}"), nil},
	{"P2-key", 2, alterWorkflow(providerLine, "credentials_json: ${{ secrets.KEY }}"), nil},
	{"P3-pool-disabled", 1, alterConfig(func(c *wif.Config) { c.Pool.Disabled = true }), nil},
	{"P3-provider-disabled", 1, alterConfig(func(c *wif.Config) { c.Provider.Disabled = true }), nil},
	{"P4-allowed-audiences", 1, alterConfig(func(c *wif.Config) { c.Provider.AllowedAudiences = []string{"https://dash.example.com"} }), nil},
	{"P4-other-audience", 1, alterClaims(func(c *token.Claims) { c.Audience = token.Audience{"sts.amazonaws.com"} }), []string{"-claims", "claims.json"}},
	{"P5-slash", 1, alterConfig(func(c *wif.Config) { c.Provider.Issuer += "/" }), nil},
	{"P5-enterprise", 1, alterClaims(func(c *token.Claims) { c.Issuer += "/octocat-inc" }), []string{"-claims", "claims.json"}},
	{"P5-enterprise-expected", 2, alterConfig(func(c *wif.Config) { c.Provider.Issuer += "/octocat-inc" }), nil},
	{"P5-server", 1, alterClaims(func(c *token.Claims) { c.Issuer = "https://github.example.com/_services/token" }), []string{"-claims", "claims.json"}},
	{"P5-case", 1, alterConfig(func(c *wif.Config) {
		c.Provider.Issuer = strings.Replace(c.Provider.Issuer, "github", "GitHub", 1)
	}), nil},
	{"P5-space", 1, alterConfig(func(c *wif.Config) { c.Provider.Issuer += " " }), nil},
	{"P6-expired", 1, alterClaims(func(c *token.Claims) { c.ExpiresAt -= 600; c.IssuedAt -= 600 }), []string{"-claims", "claims.json"}},
	{"P6-from-the-future", 1, alterClaims(func(c *token.Claims) { c.IssuedAt += 120; c.NotBefore = c.IssuedAt }), []string{"-claims", "claims.json"}},
	{"P6-lives-too-long", 1, alterClaims(func(c *token.Claims) { c.ExpiresAt += 86400 }), []string{"-claims", "claims.json"}},
	{"P6-no-times", 1, alterClaims(func(c *token.Claims) { c.ExpiresAt, c.IssuedAt = 0, 0 }), []string{"-claims", "claims.json"}},

	{"M1-wrong-side", 1, setMapping("assertion.aud", "attribute.aud"), nil},
	{"M1-capitals", 1, setMapping("attribute.RepositoryID", "assertion.repository_id"), nil},
	{"M1-no-subject", 1, alterConfig(func(c *wif.Config) { delete(c.Provider.AttributeMapping, "google.subject") }), nil},
	{"M1-too-many", 1, alterConfig(func(c *wif.Config) {
		for i := range 50 {
			c.Provider.AttributeMapping[fmt.Sprintf("attribute.a%d", i)] = "assertion.sha"
		}
	}), nil},
	{"M1-too-long", 1, setMapping("attribute.actor", "assertion.actor + '"+strings.Repeat("x", 2048)+"'"), nil},
	{"M2-condition-as-mapping", 1, setMapping("google.subject", "assertion.sub == 'repo:octo-org/octo-repo:ref:refs/heads/main'"), nil},
	{"M2-does-not-compile", 1, setMapping("attribute.actor", "assertion.actor or 'nobody'"), nil},
	{"M2-number", 1, setMapping("attribute.issued", "assertion.iat"), nil},
	{"M2-fails", 1, setMapping("attribute.actor", "assertion.actor.split(':')[1]"), nil},
	{"M3-no-environment", 1, setMapping("attribute.environment", "assertion.environment"), []string{"-scenario", "no-environment"}},
	{"M4-subject-too-long", 1, func(r repository) {
		setMapping("google.subject", "assertion.sub")(r)
		r.claims(func(c *token.Claims) {
			c.Ref = "refs/heads/" + strings.Repeat("long-", 20)
			_, c.Subject = c.In("").Subjects()
		})
	}, []string{"-claims", "claims.json"}},
	{"M4-little-is-left", 0, func(r repository) {
		setMapping("google.subject", "assertion.sub + '-of-the-dashboard-of-the-whole-of-the-company-whose-name-is-long'")(r)
	}, nil},
	{"M4-branch-in-subject", 0, setMapping("google.subject", "assertion.sub"), nil},
	{"M4-all-too-long", 1, alterConfig(func(c *wif.Config) {
		for i := range 5 {
			c.Provider.AttributeMapping[fmt.Sprintf("attribute.a%d", i)] = "'" + strings.Repeat("x", 2000) + "'"
		}
	}), nil},
	{"M5-other-claim", 2, setMapping("attribute.repository_id", "assertion.repository_owner_id"), nil},

	{"C1-none", 1, setCondition(""), nil},
	{"C1-no-claim", 1, setCondition("true"), nil},
	{"C2-too-long", 1, setCondition(strings.Repeat(condition+" && ", 140) + condition), nil},
	{"C2-one-equals-sign", 1, setCondition("assertion.repository_id = '74'"), nil},
	{"C2-not-a-bool", 1, setCondition("assertion.repository_id + '74'"), nil},
	{"C3-number", 1, alterCondition("'65'", "65"), nil},
	{"C4-case", 1, func(r repository) {
		alterCondition("assertion.ref ==", "assertion.repository_owner == 'Octo-Org' && assertion.ref ==")(r)
		r.claims(func(*token.Claims) {})
	}, []string{"-claims", "claims.json"}},
	{"C4-pull-request", 1, alterWorkflow("  workflow_dispatch:\n", "  workflow_dispatch:\n  pull_request:\n"), []string{"-scenario", "pull-request-auth"}},
	{"C4-other-branch", 1, alterWorkflow("    branches: [main]\n", ""), []string{"-scenario", "other-branch-auth"}},
	{"C4-tag", 1, alterWorkflow("    branches: [main]\n", ""), []string{"-scenario", "tag-auth"}},
	{"C4-taken-name", 1, nil, []string{"-scenario", "taken-name-auth"}},
	{"C4-self-hosted", 1, nil, []string{"-scenario", "self-hosted-auth"}},
	{"C4-other-workflow", 1, nil, []string{"-scenario", "other-workflow-auth"}},
	{"C4-short-ref", 1, alterCondition("assertion.ref == 'refs/heads/main'", "assertion.ref == 'main'"), nil},
	{"C4-other-pattern", 1, alterCondition("assertion.ref == 'refs/heads/main'", "assertion.ref.matches('^release/[0-9]+$')"), nil},
	{"C4-name-for-id", 1, func(r repository) {
		alterCondition("'74'", "'octo-org/octo-repo'")(r)
		r.claims(func(*token.Claims) {})
	}, []string{"-claims", "claims.json"}},
	{"C4-missing-claim", 1, alterCondition("assertion.ref_type", "assertion.environment == 'prod-auth' && assertion.ref_type"), []string{"-scenario", "no-environment-auth"}},
	{"C4b-star", 1, alterCondition("assertion.ref == 'refs/heads/main'", "assertion.ref == 'refs/heads/*'"), nil},
	{"C5-names-alone", 2, func(r repository) {
		alterCondition("assertion.repository_owner_id == '65' && assertion.repository_id == '74'", "assertion.repository == 'octo-org/octo-repo'")(r)
	}, nil},
	{"C5-owner-alone", 2, setCondition("assertion.repository_owner_id == '65'"), nil},
	{"C5-loose-texts", 2, alterCondition("assertion.ref_type", "assertion.sub.startsWith('repo:octo-org') && assertion.workflow.matches('deploy') && assertion.repository.contains('octo') && assertion.job_workflow_ref.endsWith('deploy.yml@refs/heads/main') && assertion.ref_type"), nil},
	{"C5-or", 2, alterCondition("assertion.repository_owner_id == '65' &&", "assertion.actor == 'dependabot' || assertion.repository_owner_id == '65' &&"), nil},
	{"C6-names-in-condition", 2, alterCondition("assertion.ref_type", "assertion.sub == 'repo:octo-org/octo-repo:environment:prod-auth' && assertion.ref_type"), []string{"-function", "auth"}},
	{"C6-ids-in-member", 2, func(r repository) {
		setMapping("google.subject", "assertion.sub")(r)
		setMember("principal://iam.googleapis.com/" + pool + "/subject/repo:octo-org@65/octo-repo@74:environment:prod-auth")(r)
	}, []string{"-function", "auth"}},

	{"C5-names-of-an-old-repository", 2, alterCondition("assertion.repository_owner_id == '65' && assertion.repository_id == '74'", "assertion.sub.startsWith('repo:octo-org/octo-repo:')"), []string{"-sub", "names"}},
	{"C6-names-of-a-new-repository", 1, alterCondition("assertion.repository_owner_id == '65' && assertion.repository_id == '74'", "assertion.sub.startsWith('repo:octo-org/octo-repo:')"), []string{"-sub", "ids"}},

	{"B1-project-id", 1, setMember("principalSet://iam.googleapis.com/projects/acme-dash-prod/locations/global/workloadIdentityPools/github/attribute.deployer/74:prod-auth"), nil},
	{"B1-other-pool", 1, setMember("principalSet://iam.googleapis.com/" + pool + "2/attribute.deployer/74:prod-auth"), nil},
	{"B1-account", 1, setMember("serviceAccount:deploy-auth@acme-dash-prod.iam.gserviceaccount.com"), nil},
	{"B1-subject-in-set", 1, setMember("principalSet://iam.googleapis.com/" + pool + "/subject/gh:74:prod-auth"), nil},
	{"B2-two-attributes", 1, setMember("principalSet://iam.googleapis.com/" + pool + "/attribute.repository_id/74/attribute.deployer/74:prod-auth"), nil},
	{"B3-not-mapped", 1, setMember("principalSet://iam.googleapis.com/" + pool + "/attribute.repository/octo-org/octo-repo"), nil},
	{"B4-other-function", 1, setMember("principalSet://iam.googleapis.com/" + pool + "/attribute.deployer/74:prod-metrics"), nil},
	{"B4-case", 1, setMember("principalSet://iam.googleapis.com/" + pool + "/attribute.deployer/74:Prod-auth"), nil},
	{"B4-every-function", 2, setMember("principalSet://iam.googleapis.com/" + pool + "/attribute.repository_id/74"), nil},
	{"B4-no-such-deployer", 1, nil, []string{"-function", "billing"}},
	{"B4-no-such-environment", 1, alterClaims(func(c *token.Claims) { c.Environment = "staging" }), []string{"-claims", "claims.json"}},
	{"B4-elsewhere", 2, func(r repository) {
		r.deployer("web", func(d *wif.Deployer) {
			d.Members[0].Member = strings.Replace(d.Members[0].Member, "prod-web", "prd-web", 1)
		})
	}, []string{"-function", "auth"}},
	{"B5-other-role", 1, alterAuth(func(d *wif.Deployer) { d.Members[0].Role = "roles/iam.serviceAccountUser" }), nil},
	{"B5-token-creator", 2, alterAuth(func(d *wif.Deployer) { d.Members[0].Role = "roles/iam.serviceAccountTokenCreator" }), nil},
	{"B5-role-of-the-project", 2, alterAuth(func(d *wif.Deployer) { d.Members[0].Role = "projects/acme-dash-prod/roles/deployer" }), nil},
	{"B5-nobody", 1, alterAuth(func(d *wif.Deployer) { d.Members = nil }), nil},
	{"B5-one-more-role", 2, alterAuth(func(d *wif.Deployer) {
		d.Members = append(d.Members, wif.Member{Role: "roles/iam.serviceAccountAdmin", Member: d.Members[0].Member})
	}), nil},
	{"B6-anybody", 2, alterAuth(func(d *wif.Deployer) {
		d.Members = append(d.Members, wif.Member{Role: "roles/iam.workloadIdentityUser", Member: "allUsers"})
	}), nil},
	{"B6-whole-pool", 2, setMember("principalSet://iam.googleapis.com/" + pool + "/*"), nil},

	{"R1-other-account", 2, alterAuth(func(d *wif.Deployer) {
		d.ActsAs = append(d.ActsAs, "fn-metrics@acme-dash-prod.iam.gserviceaccount.com")
	}), nil},
	{"R1-not-its-own", 1, alterAuth(func(d *wif.Deployer) { d.ActsAs = d.ActsAs[1:] }), nil},
	{"R1-no-build-account", 2, alterConfig(func(c *wif.Config) {
		for name, d := range c.Deployers {
			d.ActsAs = d.ActsAs[:1]
			c.Deployers[name] = d
		}
	}), nil},
	{"R1-editor", 2, alterAuth(func(d *wif.Deployer) { d.ProjectRoles = append(d.ProjectRoles, "roles/editor", "roles/run.admin") }), nil},
	{"R1-unknown-role", 2, alterAuth(func(d *wif.Deployer) { d.ProjectRoles = append(d.ProjectRoles, "projects/p/roles/deployer") }), nil},
	{"R1-lacks-role", 1, alterAuth(func(d *wif.Deployer) { d.ProjectRoles = d.ProjectRoles[:1] }), nil},
	{"R2-one-account-for-two", 1, alterAuth(func(d *wif.Deployer) { d.Email = "deploy-web@acme-dash-prod.iam.gserviceaccount.com" }), nil},
	{"R2-mistyped", 1, alterWorkflow("service_account: deploy-", "service_account: depoly-"), nil},
	{"R2-other-function", 1, alterWorkflow("service_account: deploy-${{ matrix.function }}", "service_account: deploy-web"), nil},
	{"R2-format-without-account", 1, alterWorkflow(accountLine, "token_format: access_token"), nil},
	{"R2-no-account", 2, alterWorkflow(accountLine, "export_environment_variables: true"), nil},
	{"R2-other-project", 1, alterAuth(func(d *wif.Deployer) { d.Email = "deploy-auth@acme-dash-test.iam.gserviceaccount.com" }), nil},
	{"R2-unlike-the-rest", 2, alterConfig(func(c *wif.Config) {
		f := c.Functions["web"]
		f.Service, f.Region = "frontend", "us-east1"
		c.Functions["web"] = f
	}), nil},
	{"R2-no-function", 2, alterConfig(func(c *wif.Config) { delete(c.Functions, "web") }), nil},
	{"R2-no-such-names", 1, alterConfig(func(c *wif.Config) {
		c.ProjectID = "Acme"
		f := c.Functions["web"]
		f.Service, f.Region = "Web", "Europe"
		c.Functions["web"] = f
	}), nil},
}

func TestEachBrokenThing(t *testing.T) {
	t.Parallel()
	checked := map[string]bool{"P7": true} // TestSignature
	for _, c := range cases {
		check, _, _ := strings.Cut(c.name, "-")
		checked[check] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			if c.breakIt != nil {
				c.breakIt(r)
			}
			code, out, complaint := r.run("", c.args...)
			if code != c.code || complaint != "" {
				t.Errorf("code %d, want %d; %s", code, c.code, complaint)
			}
			golden(t, c.name+".txt", out)
			inJSON, answer, _ := r.run("", append(c.args, "-json")...)
			var report diagnosis.Report
			if err := json.Unmarshal([]byte(answer), &report); err != nil || inJSON != code {
				t.Fatalf("code %d, %v", inJSON, err)
			}
			if len(report.Findings) == 0 || report.Findings[0].Check != check {
				t.Errorf("found first %+v, want %s", report.Findings, check)
			}
		})
	}
	for _, c := range diagnosis.Checks {
		if !checked[c.ID] {
			t.Errorf("no case breaks what %s asks", c.ID)
		}
	}
}

func TestEachGoldenAnswerIsOfACase(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"valid.txt": true, "explain.txt": true}
	for _, c := range cases {
		known[c.name+".txt"] = true
	}
	for _, entry := range entries {
		if !known[entry.Name()] {
			t.Errorf("testdata/%s is of no case: remove it", entry.Name())
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // it is committed
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./infra/doctor/command -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s; go test ./infra/doctor/command -update rewrites it:\n%s", path, diff)
	}
}

func TestValidSetupForEveryFunction(t *testing.T) {
	t.Parallel()
	code, out, complaint := newRepository(t).run("")
	if code != 0 || complaint != "" {
		t.Errorf("code %d; %s", code, complaint)
	}
	golden(t, "valid.txt", out)
}

var key = func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}()

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

func signed(t *testing.T, claims string) string {
	t.Helper()
	text := encode([]byte(`{"alg":"RS256","kid":"k1","typ":"JWT"}`)) + "." + encode([]byte(claims))
	hash := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(signature)
}

func TestSignature(t *testing.T) {
	t.Parallel()
	jwks := fmt.Sprintf(`{"keys":[{"kid":"k0"},{"kid":"k1","n":%q,"e":%q}]}`, encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes()))
	r := newRepository(t)
	r.claims(func(*token.Claims) {})
	whole := signed(t, r.read("claims.json"))
	parts := strings.Split(whole, ".")
	r.write("jwks.json", jwks)
	for name, c := range map[string]struct {
		code        int
		token, jwks string
		says        string
	}{
		"good":              {0, whole, jwks, "P7"},
		"as a header":       {0, "Bearer " + whole + "\n", jwks, "ADMITTED"},
		"as it is answered": {0, `{"count":1,"value":"` + whole + `"}`, jwks, "ADMITTED"},
		"changed":           {1, parts[0] + "." + encode([]byte(strings.Replace(r.read("claims.json"), "octocat", "mallory", 1))) + "." + parts[2], jwks, "was changed"},
		"old keys":          {1, whole, strings.Replace(jwks, "k1", "k2", 1), "not in the file"},
		"not RSA":           {1, whole, strings.Replace(jwks, encode(key.N.Bytes()), "", 1), "no RSA key"},
		"other algorithm":   {1, encode([]byte(`{"alg":"none","kid":"k1"}`)) + "." + parts[1] + "." + parts[2], jwks, `signed by "none"`},
		"no keys":           {1, whole, `{}`, "holds none"},
		"claims, unsigned":  {1, r.read("claims.json"), jwks, "nobody has signed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			r.write("jwks.json", c.jwks)
			code, out, complaint := r.run(c.token, "-token", "-", "-jwks", "jwks.json")
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("code %d, %s%s", code, out, complaint)
			}
			if strings.Contains(out+complaint, parts[2][:20]) {
				t.Error("the signature is printed")
			}
		})
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("claims.json", `{"iss":`)
	for name, c := range map[string]struct {
		code int
		args []string
		says string
	}{
		"help":                {0, []string{"-h"}, "pull-request-target"},
		"unknown flag":        {2, []string{"-tokn", "x"}, "not defined"},
		"an argument":         {2, []string{"explain"}, `unknown argument "explain"`},
		"token and scenario":  {2, []string{"-token", "x", "-scenario", "tag"}, "not both"},
		"token and claims":    {2, []string{"-token", "x", "-claims", "y"}, "not both"},
		"both from one input": {2, []string{"-token", "-", "-config", "-"}, "cannot be both"},
		"unknown scenario":    {2, []string{"-scenario", "sunday"}, "there are push-main"},
		"no such function":    {2, []string{"-scenario", "tag-billing"}, "each also with -FUNCTION"},
		"no config":           {2, []string{"-config", "nowhere.json"}, "output -json wif"},
		"a folder as config":  {2, []string{"-config", "."}, "directory"},
		"no token":            {2, []string{"-token", "nowhere"}, "nowhere"},
		"broken claims":       {2, []string{"-claims", "claims.json"}, "not JSON"},
		"no workflows":        {2, []string{"-workflows", "nowhere"}, "nowhere"},
		"no keys":             {2, []string{"-jwks", "nowhere"}, "nowhere"},
		"half a repository":   {2, []string{"-repository", "octo-org"}, "OWNER/NAME"},
		"half a variable":     {2, []string{"-var", "X"}, "NAME=VALUE"},
		"no form":             {2, []string{"-sub", "id"}, "names or ids"},
		"no time":             {2, []string{"-now", "noon"}, `invalid value "noon" for flag -now: want a time such as 2026-11-24T12:00:00Z; -h lists the flags`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, complaint := r.run("", c.args...)
			long := strings.Count(complaint, "\n") > 3
			if code != c.code || !strings.Contains(complaint, c.says) || out != "" || long != (c.code == 0) {
				t.Errorf("code %d, %q, %q", code, out, complaint)
			}
		})
	}
}

func TestBrokenRepository(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(repository){
		"a workflow":  func(r repository) { r.write(deploy, "jobs: [") },
		"ignore file": func(r repository) { must(r.t, os.Mkdir(r.path(".dockerignore"), 0o700)) },
		"config":      func(r repository) { r.write("wif.json", "wif = {") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			breakIt(r)
			if code, out, complaint := r.run(""); code != 2 || out != "" || !strings.HasPrefix(complaint, "doctor: ") {
				t.Errorf("code %d, %q, %q", code, out, complaint)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestScenarioOfARepositoryByFlags(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	setCondition("assertion.repository == 'acme/dash'")(r)
	code, out, _ := r.run("", "-repository", "acme/dash", "-owner-id", "7", "-repository-id", "8")
	if code != 1 || !strings.Contains(out, `deployer "8:prod-auth"`) {
		t.Errorf("code %d: %s", code, out)
	}
	_, out, _ = r.run("")
	if !strings.Contains(out, "assumed: it is repository 74 of owner 65") {
		t.Error(out)
	}
}

func TestAnotherBranchThanMain(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	alterCondition("refs/heads/main", "refs/heads/production")(r)
	r.replace(deploy, "branches: [main]", "branches: [production]")
	if code, out, _ := r.run(""); code != 0 || !strings.Contains(out, "main is refs/heads/production") {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestWithoutRepository(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	must(t, os.RemoveAll(r.path(".github")))
	code, out, _ := r.run("")
	if code != 0 || !strings.Contains(out, "W1 W2 W3 W4 W6 P2: no workflow files") || !strings.Contains(out, "W5: no repository") {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestConfigOnStandardInput(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	all := `{"url": {"value": "https://x"}, "wif": {"sensitive": false, "value": ` + r.read("wif.json") + `}}`
	if code, out, complaint := r.run(all, "-config", "-"); code != 0 {
		t.Errorf("code %d: %s%s", code, out, complaint)
	}
}

func TestManyFindingsStayReadable(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.config(func(c *wif.Config) {
		for i := range 30 {
			c.Deployers[fmt.Sprintf("f%d", i)] = wif.Deployer{}
			c.Provider.AttributeMapping[fmt.Sprintf("assertion.a%d", i)] = "assertion.sha"
		}
	})
	code, out, _ := r.run("")
	if code != 1 || strings.Count(out, "\n") > 400 || !strings.Contains(out, "more; -json lists them all") || !strings.Contains(out, "-json has the table") {
		t.Errorf("code %d, %d lines: %s", code, strings.Count(out, "\n"), out)
	}
}

func TestNothingOfOthersReachesTheTerminal(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.deployer("auth", func(d *wif.Deployer) { d.Email = "\x1b]0;owned\x07\u202e@x" })
	_, out, _ := r.run("")
	if strings.ContainsAny(out, "\x1b\x07\u202e") || !strings.Contains(out, "owned") {
		t.Errorf("%q", out)
	}
}

func TestOutputThatFails(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	args := []string{"-config", r.path("wif.json"), "-root", r.folder}
	var complaint strings.Builder
	full := writer(func([]byte) (int, error) { return 0, io.ErrShortWrite })
	if code := command.Run(args, strings.NewReader(""), full, &complaint); code != 2 || complaint.Len() == 0 {
		t.Errorf("code %d, %q", code, complaint.String())
	}
	if code := command.Run([]string{"explain"}, iotest.ErrReader(io.ErrUnexpectedEOF), io.Discard, &complaint); code != 2 {
		t.Errorf("code %d", code)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestExplain(t *testing.T) {
	t.Parallel()
	run := func(stdin string, args ...string) (int, string) {
		var out bytes.Buffer
		code := command.Run(append([]string{"explain"}, args...), strings.NewReader(stdin), &out, io.Discard)
		return code, out.String()
	}
	const pasted = `google-github-actions/auth failed with: failed to generate Google Cloud federated token for //iam.googleapis.com/x: {"error":"unauthorized_client","error_description":"The given credential is rejected by the attribute condition."}`
	code, out := run(pasted + " ya29.secret")
	if code != 0 || strings.Contains(out, "secret") {
		t.Errorf("code %d: %s", code, out)
	}
	golden(t, "explain.txt", out)
	if code, same := run("", strings.Fields(pasted)...); code != 0 || same != out {
		t.Errorf("code %d: %s", code, same)
	}
	code, out = run("invalid_target and rejected by the attribute condition")
	if code != 0 || strings.Count(out, "why ") != 2 {
		t.Errorf("code %d: %s", code, out)
	}
	code, out = run("all is well")
	if code != 2 || !strings.Contains(out, "none of the errors") {
		t.Errorf("code %d: %s", code, out)
	}
	code, out = run("", "-json", pasted)
	var found []struct{ ID string }
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 || len(found) != 1 || found[0].ID != "E7" {
		t.Errorf("code %d: %s", code, out)
	}
	if code, out := run("all is well", "-json"); code != 2 || out != "[]\n" {
		t.Errorf("code %d: %s", code, out)
	}
}

// A token that was pasted where a file's name belongs is not told back.
func TestTokenInPlaceOfANameIsNotShown(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	signature := strings.Repeat("S1gn", 80)
	pasted := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0." + signature
	for _, option := range []string{"token", "claims", "config", "jwks", "workflows", "function", "scenario", "repository"} {
		for _, more := range [][]string{nil, {"-json"}} {
			code, out, complaint := r.run("", append([]string{"-" + option, pasted}, more...)...)
			if said := out + complaint; code == 0 || strings.Contains(said, "S1gn") {
				t.Errorf("-%s: code %d: %s", option, code, said)
			}
		}
	}
	if _, _, help := r.run("", "-h"); strings.ContainsRune(help, '\uFFFD') {
		t.Errorf("help is broken: %q", help)
	}
}
