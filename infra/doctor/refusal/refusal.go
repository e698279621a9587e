// Package refusal knows what GitHub's action and Google answer when they refuse,
// and what each answer means. Finding the cause in a set-up is left to package
// diagnosis.
package refusal

import (
	"regexp"
	"slices"
	"strings"
)

// Most is as much of a pasted log as is read.
const Most = 1 << 20

// Error is one of the answers.
type Error struct {
	ID     string   `json:"id"`
	Text   string   `json:"text"` // as it is answered, without what varies
	By     string   `json:"by"`
	Cause  string   `json:"cause"`
	Fix    string   `json:"fix"`
	Checks []string `json:"checks"` // those of the doctor that find the cause, if it shows in a set-up

	// marks are what a log must hold, as lower-case patterns: one of them.
	marks []string
}

// Errors are all of them. Where one log matches several, the earlier is likelier
// to be the cause.
var Errors = []Error{
	{
		ID: "E1", By: "google-github-actions/auth",
		Text:   `GitHub Actions did not inject $ACTIONS_ID_TOKEN_REQUEST_TOKEN or $ACTIONS_ID_TOKEN_REQUEST_URL into this job.`,
		Cause:  `GitHub gave the job no token to exchange; Google was never asked. The job, or a job that calls its workflow, lacks the permission "id-token: write", or the run belongs to a pull request from a fork, which never gets it.`,
		Fix:    `Give the job "permissions: {contents: read, id-token: write}", and the same to each job that calls its workflow. A permissions block takes away whatever it does not name.`,
		Checks: []string{"W1"}, marks: []string{`did not inject \$?actions_id_token_request`, `actions_id_token_request_(token|url)`},
	},
	{
		ID: "E2", By: "google-github-actions/auth",
		Text:   `The GitHub Action workflow must specify exactly one of "workload_identity_provider" or "credentials_json"!`,
		Cause:  `The input workload_identity_provider is empty, or a key is given as well. Often its variable or secret belongs to an environment that the job does not name, or the run is of a fork or of Dependabot, which see no secrets.`,
		Fix:    `Name the job's environment, set the variable there or for the repository, and remove credentials_json.`,
		Checks: []string{"P1", "W4"}, marks: []string{`must specify exactly one of "?workload_identity_provider`},
	},
	{
		ID: "E3", By: "Google's token service",
		Text:   `invalid_request: Invalid value for "audience". This value should be the full resource name of the Identity Provider.`,
		Cause:  `The input workload_identity_provider is not a provider's full name: it holds the project's id where its number belongs, or is the pool's name, or an IAM member.`,
		Fix:    `Set it to projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER, which Terraform prints as wif.provider.name.`,
		Checks: []string{"P1"}, marks: []string{`invalid value for "?audience`},
	},
	{
		ID: "E4", By: "Google's token service",
		Text:   `invalid_target: The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.`,
		Cause:  `Nothing answers to the provider's name: a wrong number or id, or the pool or the provider is disabled, was deleted, or is less than five minutes old.`,
		Fix:    `Compare the workflow's provider with Terraform's. A deleted pool or provider keeps its id for 30 days: undelete it ("gcloud iam workload-identity-pools undelete") or take another id.`,
		Checks: []string{"P2", "P3"}, marks: []string{`invalid_target`, `target service indicated by the "?audience"? parameters? is invalid`},
	},
	{
		ID: "E5", By: "Google's token service",
		Text:   `invalid_grant: The audience in ID Token does not match the expected audience.`,
		Cause:  `The provider lists allowed_audiences and the action sends another: its default is the provider's full name after https://iam.googleapis.com/.`,
		Fix:    `Remove allowed_audiences from the provider, or set the action's input "audience" to one of them.`,
		Checks: []string{"P4"}, marks: []string{`audience in (the )?(jwt|id token)( \S+)? does not match`},
	},
	{
		ID: "E6", By: "Google's token service",
		Text:   `invalid_grant: The issuer in ID Token does not match the expected ones.`,
		Cause:  `The provider's issuer_uri is not the token's iss, byte for byte: GitHub Enterprise Server, an enterprise's own issuer, or a typing error.`,
		Fix:    `Set issuer_uri to the token's iss. For github.com it is https://token.actions.githubusercontent.com without a slash at its end.`,
		Checks: []string{"P5"}, marks: []string{`issuer in (the )?(jwt|id token).*does not match`},
	},
	{
		ID: "E7", By: "Google's token service",
		Text:   `unauthorized_client: The given credential is rejected by the attribute condition.`,
		Cause:  `The provider's attribute_condition is false for this token: another branch, event, workflow file or repository than it wants, or a name in other case. GitHub ignores case in names, Google does not.`,
		Fix:    `Run the doctor with the token, or with the scenario that failed: it shows which part of the condition is false, and what the token has.`,
		Checks: []string{"C4", "C3", "C4b", "C6"}, marks: []string{`rejected by the attribute condition`},
	},
	{
		ID: "E8", By: "Google's token service",
		Text:   `The mapped attribute 'google.subject' must be of type STRING.`,
		Cause:  `The mapping's right-hand side gives something else than text, usually because a condition was pasted into it.`,
		Fix:    `Map google.subject to text, such as assertion.sub, and move the comparison to attribute_condition.`,
		Checks: []string{"M2"}, marks: []string{`mapped attribute '?[a-z_.]+'? must be of type`},
	},
	{
		ID: "E9", By: "Google's token service",
		Text:   `The size of mapped attribute google.subject exceeds the 127 bytes limit.`,
		Cause:  `google.subject comes from sub or ref, and this branch, tag or environment has a long name. Ids in sub take some 20 bytes more since July 2026.`,
		Fix:    `Map google.subject to what is bounded: 'gh:' + assertion.repository_id + ':' + (has(assertion.environment) ? assertion.environment : 'none').`,
		Checks: []string{"M4"}, marks: []string{`size of mapped attribute .*exceeds`, `127 bytes? limit`},
	},
	{
		ID: "E10", By: "Google's IAM, when the provider is made",
		Text:   `The attribute condition must reference one of the provider's claims.`,
		Cause:  `The provider has no attribute_condition, or one that reads no claim. Everybody on GitHub has the same issuer, so Google insists.`,
		Fix:    `Compare assertion.repository_owner_id and assertion.repository_id with the numbers of your repository, in quotes.`,
		Checks: []string{"C1"}, marks: []string{`attribute condition must reference one of the provider's claims`},
	},
	{
		ID: "E11", By: "Google's IAM, when the provider is made",
		Text:   `Invalid mapped attribute key. Custom mapped attributes must be in format 'attribute.{custom_attribute}'.`,
		Cause:  `A line of attribute_mapping has its sides exchanged, or a key with other letters than a-z, 0-9 and _; or a display name is longer than 32 characters.`,
		Fix:    `Google's name stands on the left: "attribute.aud" = "assertion.aud".`,
		Checks: []string{"M1"}, marks: []string{`invalid mapped attribute key`, `display name must be less than or equal to 32`},
	},
	{
		ID: "E12", By: "Google's IAM Credentials",
		Text:   `Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).`,
		Cause:  `Google admitted the token, but it may not impersonate this account: the account's name is mistyped, no member of its roles/iam.workloadIdentityUser fits what the mapping makes of the token, that role is another, or the IAM Credentials API is off. A job's environment changes sub.`,
		Fix:    `Run the doctor with the token: it shows what the member wants and what the mapping gives. Look at the account's name in the workflow as well.`,
		Checks: []string{"B1", "B2", "B3", "B4", "B5", "R2"}, marks: []string{`iam\.serviceaccounts\.getaccesstoken`, `iam\.serviceaccounts\.getopenidtoken`, `oauth 2\.0 access token.*the caller does not have permission`},
	},
	{
		ID: "E13", By: "google-github-actions/auth",
		Text:   `The GitHub Action workflow must specify a "service_account" to use when generating an OAuth 2.0 Access Token.`,
		Cause:  `The step asks for token_format, and names no account whose token that would be.`,
		Fix:    `Set the input service_account, or remove token_format.`,
		Checks: []string{"R2"}, marks: []string{`must specify a "?service_account"? to use when generating`},
	},
	{
		ID: "E14", By: "google-github-actions/auth",
		Text:   `The "create_credentials_file" option is true, but the current GitHub workspace is empty. Did you forget to use "actions/checkout" before this step?`,
		Cause:  `The step signs in before actions/checkout, which empties the workspace and the credentials file with it. Later steps run unauthenticated.`,
		Fix:    `Put actions/checkout before google-github-actions/auth.`,
		Checks: []string{"W2"}, marks: []string{`workspace is empty\. did you forget to use "?actions/checkout`, `create_credentials_file"? option is true`},
	},
	{
		ID: "E15", By: "Google's Cloud Run",
		Text:   `Permission 'iam.serviceaccounts.actAs' denied on service account (or it may not exist).`,
		Cause:  `The deployer lacks roles/iam.serviceAccountUser on the account that the function runs as, or on the one that builds it.`,
		Fix:    `Grant it on exactly these two accounts, never on the project.`,
		Checks: []string{"R1"}, marks: []string{`iam\.serviceaccounts\.actas`},
	},
	{
		ID: "E16", By: "Google's Cloud Run, Artifact Registry or Cloud Storage",
		Text:   `Permission 'artifactregistry.repositories.get' denied; run.services.get denied; storage.buckets.get denied.`,
		Cause:  `The deployer lacks what a deployment from source needs; gcloud may also want to make a repository or a bucket that it does not find.`,
		Fix:    `Apply infra, which gives a deployer what it takes on its function, the bucket and the repository, and makes these. Elsewhere grant roles/run.sourceDeveloper and roles/serviceusage.serviceUsageConsumer on the project.`,
		Checks: []string{"R1"}, marks: []string{`artifactregistry\.repositories\.\w+`, `run\.services\.\w+`, `storage\.(buckets|objects)\.\w+`, `cloud-run-source-deploy`, `does not have storage\.`},
	},
	{
		ID: "E17", By: "Google's IAM Credentials",
		Text:   `The access token lifetime cannot exceed 3600 seconds.`,
		Cause:  `The runner's clock differs from Google's, or a longer access_token_lifetime was asked for.`,
		Fix:    `Synchronise the runner's clock; ask for 3600s or less.`,
		Checks: []string{"P6"}, marks: []string{`access token lifetime cannot exceed`},
	},
	{
		ID: "E18", By: "Google's API that was called",
		Text:  `IAM Service Account Credentials API has not been used in project … before or it is disabled.`,
		Cause: `An API is off (SERVICE_DISABLED) in the project that the call counts for: that of the account which is impersonated, or for direct access the project_id of the step. Where that is the IAM Service Account Credentials API, the token was admitted before.`,
		Fix:   `Enable it there, and wait a minute or two: gcloud services enable iamcredentials.googleapis.com sts.googleapis.com --project=PROJECT. Where another API is named, enable that one.`,
		marks: []string{`api has not been used in project`, `service_disabled`},
	},
}

// Find returns the error of that id.
func Find(id string) (Error, bool) {
	i := slices.IndexFunc(Errors, func(e Error) bool { return e.ID == id })
	if i < 0 {
		return Error{}, false
	}
	return Errors[i], true
}

var (
	colours = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	marks   = func() [][]*regexp.Regexp {
		all := make([][]*regexp.Regexp, len(Errors))
		for i, e := range Errors {
			for _, mark := range e.marks {
				all[i] = append(all[i], regexp.MustCompile(mark))
			}
		}
		return all
	}()
)

// Explain finds the errors in what was pasted: a line, or a whole log.
func Explain(pasted string) []Error {
	if len(pasted) > Most {
		pasted = pasted[len(pasted)-Most:] // a log ends with its error
	}
	text := strings.ReplaceAll(colours.ReplaceAllString(strings.ToLower(pasted), ""), `\`, "")
	text = strings.NewReplacer("“", `"`, "”", `"`, "’", "'", "‘", "'").Replace(text)
	text = strings.Join(strings.Fields(text), " ")
	var found []Error
	for i, e := range Errors {
		if slices.ContainsFunc(marks[i], func(mark *regexp.Regexp) bool { return mark.MatchString(text) }) {
			found = append(found, e)
		}
	}
	return found
}

// Stage tells from what the action prints around an error how far a token came;
// it is empty where that does not show.
func Stage(pasted string) string {
	pasted = strings.ToLower(pasted)
	switch {
	case strings.Contains(pasted, "api has not been used in project"):
		return ""
	case strings.Contains(pasted, "federated token"):
		return "Google's token service did not admit the token: look at the provider, its mapping and its condition (checks P, M and C)."
	case strings.Contains(pasted, "oauth 2.0 access token"), strings.Contains(pasted, "id token for"):
		return "Google admitted the token, and did not let it impersonate the account: look at the account's members (checks B)."
	}
	return ""
}
