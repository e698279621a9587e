package token_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/token"
)

var origin = token.Origin{Owner: "octo-org", OwnerID: "65", Repository: "octo-repo", RepositoryID: "74", Environment: "prod-auth", Workflow: "deploy.yml", Audience: "a", Issuer: token.Issuer}

func jwt(head, claims string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}

func TestParse(t *testing.T) {
	t.Parallel()
	read, err := token.Parse([]byte(" Bearer " + jwt(`{"alg":"RS256","kid":"k"}`, `{"sub":"s","aud":["a","b"],"repo_property_tier":"1"}`) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"sub": "s", "aud": []any{"a", "b"}, "repo_property_tier": "1", "base_ref": "", "head_ref": ""}
	if diff := cmp.Diff(want, read.Claims.Map()); diff != "" || read.Head.KeyID != "k" {
		t.Errorf("%s, %+v", diff, read.Head)
	}
	answer, err := token.Parse([]byte(`{"count":1,"value":"` + jwt(`{"alg":"RS256","kid":"k"}`, `{"sub":"s"}`) + `"}`))
	if err != nil || answer.Claims.Subject != "s" || answer.Head.KeyID != "k" {
		t.Errorf("%+v, %v", answer, err)
	}
	if claims, err := token.Parse([]byte(`{"iss":"i","value":"x"}`)); err != nil || claims.Claims.Issuer != "i" {
		t.Errorf("%+v, %v", claims, err)
	}
	if read.Claims.Audience.String() != "a, b" {
		t.Errorf("%s", read.Claims.Audience)
	}
}

func TestParseSaysWhatItWasGiven(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                                 "printed nothing",
		"ya29.a0AfB.secret":                "Google's access token",
		"ghs_secretsecret":                 "GITHUB_TOKEN",
		"***":                              "masked",
		"secret.secret":                    "this has 2",
		"!.e30.c2ln":                       "no header: not base64url",
		"c2VjcmV0.e30.c2ln":                "no header: not JSON",
		"e30.!secret.c2ln":                 "second part is not base64url",
		"e30.c2VjcmV0.c2ln":                "claims are not JSON",
		"e30.e30.!secret":                  "the signature, is not base64url",
		`{"repository_id": 74}`:            "repository_id is a number",
		`{"value": "***"}`:                 "masked",
		`{"value": "secret.secret"}`:       "this has 2",
		`{"aud": 7}`:                       "aud",
		`{"sub": "secret"`:                 "not JSON",
		strings.Repeat("s", token.Most+10): "longer than 64 KiB",
	} {
		_, err := token.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	now := time.Unix(1790000000, 0)
	push, _ := token.Find("push-main")
	first, firstByID := push.Claims(origin, now)
	if first.Subject != "repo:octo-org/octo-repo:environment:prod-auth" || firstByID.Subject != "repo:octo-org@65/octo-repo@74:environment:prod-auth" {
		t.Errorf("%s, %s", first.Subject, firstByID.Subject)
	}
	want := map[string]map[string]any{ // what differs from a push to main
		"push-main":           {},
		"dispatch":            {"event_name": "workflow_dispatch"},
		"schedule":            {"event_name": "schedule"},
		"other-branch":        {"ref": "refs/heads/feature", "ref_protected": "false", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/feature", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/feature"},
		"tag":                 {"ref": "refs/tags/v1.0.0", "ref_type": "tag", "ref_protected": "false", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/tags/v1.0.0", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/tags/v1.0.0"},
		"pull-request-target": {"event_name": "pull_request_target", "base_ref": "main", "head_ref": "feature"},
		"no-environment":      {"environment": nil, "sub": "repo:octo-org/octo-repo:ref:refs/heads/main"},
		"self-hosted":         {"runner_environment": "self-hosted"},
		"other-workflow":      {"workflow": "other", "workflow_ref": "octo-org/octo-repo/.github/workflows/other.yml@refs/heads/main", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/other.yml@refs/heads/main"},
		"other-repository":    {"repository": "octo-org/octo-repo-other", "repository_id": "740", "sub": "repo:octo-org/octo-repo-other:environment:prod-auth", "workflow_ref": "octo-org/octo-repo-other/.github/workflows/deploy.yml@refs/heads/main", "job_workflow_ref": "octo-org/octo-repo-other/.github/workflows/deploy.yml@refs/heads/main"},
		"taken-name":          {"repository_id": "740", "repository_owner_id": "650"},
	}
	want["release"] = maps.Clone(want["tag"])
	want["release"]["event_name"] = "release"
	pull := map[string]any{"event_name": "pull_request", "base_ref": "main", "head_ref": "feature", "ref": "refs/pull/7/merge", "ref_protected": "false", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/pull/7/merge", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/pull/7/merge"}
	want["pull-request"], want["fork"] = pull, pull
	for _, s := range token.Scenarios {
		claims, _ := s.Claims(origin, now)
		got := map[string]any{}
		before, after := first.Map(), claims.Map()
		for name := range before {
			if diff := cmp.Diff(before[name], after[name]); diff != "" {
				got[name] = after[name]
			}
		}
		if diff := cmp.Diff(want[s.Name], got); diff != "" || len(after) > len(before) {
			t.Errorf("%s: %s", s.Name, diff)
		}
	}
	o := origin
	o.Tag = "refs/tags/r7"
	release, _ := token.Find("release")
	if c, _ := release.Claims(o, now); c.Ref != "refs/tags/r7" || c.RefType != "tag" {
		t.Errorf("%+v", c)
	}
	o.Environment, o.Called = "", "called.yml"
	pullRequest, _ := token.Find("pull-request")
	byName, _ := pullRequest.Claims(o, now)
	if byName.Subject != "repo:octo-org/octo-repo:pull_request" || byName.JobWorkflowRef != "octo-org/octo-repo/.github/workflows/called.yml@refs/pull/7/merge" {
		t.Errorf("%+v", byName)
	}
	if c, _ := token.Event("repository_dispatch").Claims(o, now); c.EventName != "repository_dispatch" || c.Ref != "refs/heads/main" {
		t.Errorf("%+v", c)
	}
	if _, ok := token.Find("sunday"); ok {
		t.Error("found sunday")
	}
}

func TestInKeepsTheFormOfSub(t *testing.T) {
	t.Parallel()
	push, _ := token.Find("push-main")
	byName, byID := push.Claims(origin, time.Unix(1790000000, 0))
	if got := byName.In("a:b").Subject; got != "repo:octo-org/octo-repo:environment:a%3Ab" {
		t.Error(got)
	}
	if got := byID.In("").Subject; got != "repo:octo-org@65/octo-repo@74:ref:refs/heads/main" {
		t.Error(got)
	}
	if got := byName.In("").Started("pull_request").Subject; got != "repo:octo-org/octo-repo:pull_request" {
		t.Error(got)
	}
	tag := byID.In("").On("refs/tags/v2")
	if tag.Subject != "repo:octo-org@65/octo-repo@74:ref:refs/tags/v2" || tag.RefType != "tag" || tag.RefProtected != "false" || !strings.HasSuffix(tag.WorkflowRef, "deploy.yml@refs/tags/v2") {
		t.Errorf("%+v", tag)
	}
	if same := byID.On("refs/heads/main"); same.RefProtected != "true" {
		t.Errorf("%+v", same)
	}
	byName.Subject = "customised"
	if got := byName.In("b"); got.Subject != "customised" || got.Environment != "b" {
		t.Errorf("%+v", got)
	}
}

func TestByID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := origin
		o.Owner = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9-]{0,20}`).Draw(t, "owner")
		o.Repository = rapid.StringMatching(`[A-Za-z0-9._-]{1,20}`).Draw(t, "repository")
		o.OwnerID, o.RepositoryID = rapid.StringMatching(`[1-9][0-9]{0,9}`).Draw(t, "owner id"), rapid.StringMatching(`[1-9][0-9]{0,9}`).Draw(t, "id")
		s := rapid.SampledFrom(token.Scenarios).Draw(t, "scenario")
		byName, byID := s.Claims(o, time.Unix(1790000000, 0))
		if token.ByID(byName.Subject) || !token.ByID(byID.Subject) {
			t.Errorf("%s, %s", byName.Subject, byID.Subject)
		}
	})
}

func FuzzParse(f *testing.F) {
	push, _ := token.Find("push-main")
	claims, _ := push.Claims(origin, time.Unix(1790000000, 0))
	text, err := json.Marshal(claims)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(jwt(`{"alg":"RS256"}`, string(text))))
	f.Add([]byte(`{"aud":null,"exp":1e300,"x":{"y":[1]}}`))
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := token.Parse(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(read.Claims.Map())
		if err != nil {
			t.Fatal(err)
		}
		second, err := token.Parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(read.Claims.Map(), second.Claims.Map()); diff != "" {
			t.Error(diff)
		}
		if read.Verify([]byte(`{"keys":[{"kid":""}]}`)) == nil {
			t.Error("a key that is none has signed")
		}
	})
}
