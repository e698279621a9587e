package refusal_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/refusal"
)

func ids(errors []refusal.Error) (ids []string) {
	for _, e := range errors {
		ids = append(ids, e.ID)
	}
	return ids
}

// What stands in logs, beside the texts that the errors have themselves.
var pasted = map[string][]string{
	"E1":  {"Error: google-github-actions/auth failed with: GitHub Actions did not inject $ACTIONS_ID_TOKEN_REQUEST_TOKEN or $ACTIONS_ID_TOKEN_REQUEST_URL into this job. This most likely means the GitHub Actions workflow permissions are incorrect, or this job is being run from a fork.", "Error: Unable to get ACTIONS_ID_TOKEN_REQUEST_URL env variable"},
	"E2":  {`the GitHub Action workflow must specify exactly one of "workload_identity_provider" or "credentials_json"! If you are specifying input values via GitHub secrets, ensure the secret is being injected`},
	"E3":  {`{"error":"invalid_request","error_description":"Invalid value for \"audience\". This value should be the full resource name of the Identity Provider."}`},
	"E4":  {`{"error":"invalid_target","error_description":"The target service indicated by the \"audience\" parameters is invalid."}`, `the target service indicated by the "audience" parameters is invalid`},
	"E5":  {"invalid_grant: The audience in JWT does not match the expected values.", "The audience in ID Token [https://x] does not match the expected audience https://y"},
	"E6":  {"The issuer in ID Token https://token.actions.githubusercontent.com/acme does not match the expected ones: https://token.actions.githubusercontent.com/"},
	"E7":  {"\x1b[31m{\"error\":\"unauthorized_client\",\"error_description\":\"The given credential is\n  rejected by the attribute condition.\"}\x1b[0m"},
	"E8":  {"The mapped attribute ‘google.subject’ must be of type STRING."},
	"E9":  {"The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion"},
	"E10": {"Error 400: The attribute condition must reference one of the provider's claims. For more information, see https://cloud.google.com/x#conditions", "The attribute condition must reference one of the provider’s claims"},
	"E11": {"Invalid mapped attribute key: assertion.aud. Custom mapped attributes must be in format", "display name must be less than or equal to 32 characters"},
	"E12": {`Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).`, `failed to generate Google Cloud OAuth 2.0 Access Token for deploy@p.iam.gserviceaccount.com: {"error":{"code":403,"message":"The caller does not have permission"}}`, "iam.serviceAccounts.getOpenIdToken"},
	"E13": {`the GitHub Action workflow must specify a "service_account" to use when generating an OAuth 2.0 Access Token.`},
	"E14": {`⚠️ The "create_credentials_file" option is true, but the current GitHub workspace is empty. Did you forget to use "actions/checkout" before this step?`},
	"E15": {"PERMISSION_DENIED: Permission 'iam.serviceaccounts.actAs' denied on service account fn-auth@p.iam.gserviceaccount.com (or it may not exist)"},
	"E16": {"Permission 'artifactregistry.repositories.get' denied on resource //x/cloud-run-source-deploy", "run.services.get denied", "does not have storage.buckets.get access"},
	"E18": {`failed to generate Google Cloud OAuth 2.0 Access Token for deploy-auth@p.iam.gserviceaccount.com: {"error":{"code":403,"message":"IAM Service Account Credentials API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123456789012 then retry.","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`},
	"E17": {"The access token lifetime cannot exceed 3600 seconds."},
}

func TestExplainKnowsEachError(t *testing.T) {
	t.Parallel()
	if len(refusal.Errors) != len(pasted) {
		t.Errorf("%d errors, %d are pasted", len(refusal.Errors), len(pasted))
	}
	for _, e := range refusal.Errors {
		for _, text := range append(pasted[e.ID], e.Text) {
			for _, shown := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, " ", "\n  "), strings.ReplaceAll(text, `"`, `\"`)} {
				if got := ids(refusal.Explain(shown)); !slices.Equal(got, []string{e.ID}) {
					t.Errorf("%s: %q gives %v", e.ID, shown, got)
				}
			}
		}
		if e.Cause == "" || e.Fix == "" || e.By == "" || len(e.Checks) == 0 && e.ID != "E18" {
			t.Errorf("%s says too little", e.ID)
		}
		if found, ok := refusal.Find(e.ID); !ok || found.Text != e.Text {
			t.Errorf("%s is not found", e.ID)
		}
	}
	if _, ok := refusal.Find("E0"); ok {
		t.Error("found E0")
	}
}

func TestExplainFindsAnErrorInALongLog(t *testing.T) {
	t.Parallel()
	log := strings.Repeat("2026-11-24T12:00:00Z step\n", 100_000) + pasted["E7"][0]
	if got := ids(refusal.Explain(log)); !slices.Equal(got, []string{"E7"}) {
		t.Error(got)
	}
}

func TestExplainKeepsItsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"E1", "E4", "E7", "E12", "E15"}), rapid.ID[string]).Draw(t, "some")
		var log, want []string
		for _, id := range some {
			log = append(log, pasted[id][0])
		}
		for _, e := range refusal.Errors {
			if slices.Contains(some, e.ID) {
				want = append(want, e.ID)
			}
		}
		if got := ids(refusal.Explain(strings.Join(log, "\n"))); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

func TestStage(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"failed to generate Google Cloud federated token for //iam": "did not admit",
		"failed to generate Google Cloud OAuth 2.0 Access Token":    "admitted the token",
		"failed to generate Google Cloud ID Token for x":            "admitted the token",
	} {
		if got := refusal.Stage(text); !strings.Contains(got, says) {
			t.Errorf("%s: %q", text, got)
		}
	}
	for _, text := range []string{"all is well", pasted["E18"][0]} {
		if got := refusal.Stage(text); got != "" {
			t.Error(got)
		}
	}
}

func FuzzExplain(f *testing.F) {
	for _, texts := range pasted {
		f.Add(texts[0])
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := ids(refusal.Explain(text))
		again := ids(refusal.Explain(text + "\n"))
		if !slices.Equal(found, again) {
			t.Errorf("%v, %v", found, again)
		}
	})
}
