package auth_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func TestAnAccountIsDeletedWithWhatIsItsAlone(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada, grace := c.person("Ada"), c.person("Grace")
	c.joins(grace, ada, "viewer")
	remove := func(p person, password string) answer {
		return c.as(p, http.MethodPost, "/api/auth/me/delete", map[string]any{"current_password": password}, nil)
	}
	c.want(remove(ada, "a wrong guess"), http.StatusForbidden, "wrong_password")
	got := remove(ada, password)
	c.want(got, http.StatusConflict, "last_owner")
	if !strings.Contains(got.Raw, "Ada's") {
		t.Errorf("it does not name the team: %s", got.Raw)
	}
	c.want(c.as(ada, http.MethodPatch, member(ada.team, grace), map[string]any{"role": "owner"}, nil), http.StatusNoContent)
	// Facts of hers alone go with her.
	var alone auth.Team
	c.as(ada, http.MethodPost, "/api/auth/teams", map[string]any{"name": "Alone"}, &alone)
	c.exec(t, `WITH r AS (INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '1', 'shop') RETURNING id),
		s AS (INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'shop', 'tag' FROM r RETURNING id),
		e AS (INSERT INTO environments (service_id, name, kind) SELECT id, 'production', 'production' FROM s RETURNING id)
		INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at) SELECT id, 'v1', 'v1', sha256('')::bytea, 'success', now() FROM e`, alone.ID)
	got = remove(ada, password)
	c.want(got, http.StatusNoContent)
	if set := got.Header.Get("Set-Cookie"); !strings.HasPrefix(set, httpapi.RefreshCookie+"=;") {
		t.Errorf("the cookie is %q", set)
	}
	for _, left := range []string{"users WHERE id = '" + ada.id + "'", "sessions WHERE user_id = '" + ada.id + "'", "teams WHERE id = '" + alone.ID + "'", "deployments"} {
		if n := c.count(t, left); n != 0 {
			t.Errorf("%d %s are left", n, left)
		}
	}
	c.want(c.as(ada, http.MethodGet, "/api/auth/me", nil, nil), http.StatusUnauthorized)
	c.want(remove(ada, password), http.StatusUnauthorized, "session_revoked")
	c.want(login(t, c.handler, ada.email, password), http.StatusUnauthorized)
	if diff := cmp.Diff(map[string]string{grace.id: "owner"}, c.roles(grace, ada.team)); diff != "" {
		t.Error(diff)
	}
	// Who belongs to no team leaves a trace as well.
	hedy := c.person("Hedy")
	c.exec(t, "DELETE FROM teams WHERE id = $1", hedy.team)
	c.want(remove(hedy, password), http.StatusNoContent)
	if n := c.count(t, "auth_events WHERE kind = 'account_deleted' AND user_id = $1", hedy.id); n != 1 {
		t.Errorf("%d events tell of Hedy", n)
	}
	// Her acts stay, without her name.
	events := c.audit(grace, ada.team)
	if len(events) == 0 || events[0].Kind != "account_deleted" || *events[0].By != (auth.EventActor{ID: ada.id}) {
		t.Errorf("the log says %+v", events)
	}
}

func TestAnAccountIsExportedWhole(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada := c.person("Ada")
	c.invitation(ada, "viewer")
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams/"+ada.team+"/tokens", map[string]any{"name": "board", "scope": "read"}, nil), http.StatusCreated)
	var profile auth.Profile
	c.want(c.as(ada, http.MethodPatch, "/api/auth/me", map[string]any{"name": " Ada Lovelace "}, &profile), http.StatusOK)
	c.want(c.as(ada, http.MethodPatch, "/api/auth/me", map[string]any{"name": "\u0000"}, nil), http.StatusUnprocessableEntity)
	if profile.Name != "Ada Lovelace" || profile.Email != ada.email {
		t.Errorf("the profile is %+v", profile)
	}
	grace := c.person("Grace")
	c.joins(ada, grace, "viewer")
	c.want(c.as(ada, http.MethodPost, "/api/auth/me/export", nil, nil), http.StatusOK)
	var export auth.Export
	got := c.as(ada, http.MethodPost, "/api/auth/me/export", nil, &export)
	c.want(got, http.StatusOK)
	if got.Header.Get("Content-Disposition") != `attachment; filename="account.json"` || strings.Contains(got.Raw, "argon2") || strings.Contains(got.Raw, "secret") {
		t.Errorf("exported %v %s", got.Header, got.Raw)
	}
	for part, want := range map[string]json.RawMessage{"Ada Lovelace": export.Account, ada.team: export.Memberships, "issued_at": export.Sessions, "Grace": export.Invitations, grace.team: export.Invitations, "board": export.Tokens, "token_made": export.Events, "name_changed": export.Events, "account_exported": export.Events} {
		if !strings.Contains(string(want), part) {
			t.Errorf("%s is not in %s", part, want)
		}
	}
	c.exec(t, "UPDATE sessions SET revoked_at = now()")
	c.want(c.as(ada, http.MethodPost, "/api/auth/me/export", nil, nil), http.StatusUnauthorized, "session_revoked")
	c.want(c.as(ada, http.MethodPatch, "/api/auth/me", map[string]any{"name": "Ada"}, nil), http.StatusUnauthorized, "session_revoked")
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams", map[string]any{"name": "x"}, nil), http.StatusUnauthorized, "session_revoked")
	c.want(c.as(ada, http.MethodGet, "/api/auth/teams/"+ada.team+"/members", nil, nil), http.StatusUnauthorized, "session_revoked")
	c.want(c.as(ada, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": c.operatorLink(auth.NewOwnerLink)}, nil), http.StatusUnauthorized, "session_revoked")
}

func TestTheAuditLogIsATable(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada := c.person("=HYPERLINK(Ada)")
	c.want(c.as(ada, http.MethodPatch, "/api/auth/teams/"+ada.team, map[string]any{"name": "\"Engines\", and more"}, nil), http.StatusNoContent)
	path := "/api/auth/teams/" + ada.team + "/audit?limit=1"
	csvOf := func(path string) ([][]string, string) {
		r := c.get(path, bearer(ada.token), func(r *http.Request) { r.Header.Set("Accept", "text/csv") })
		if r.Code != http.StatusOK || !strings.HasPrefix(r.Header().Get("Content-Type"), "text/csv") {
			t.Fatalf("%d %v", r.Code, r.Header())
		}
		rows, err := csv.NewReader(r.Body).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return rows, r.Header().Get("Link")
	}
	rows, next := csvOf(path)
	if diff := cmp.Diff([]string{"id", "at", "kind", "by", "by_name", "detail"}, rows[0]); diff != "" || len(rows) != 2 {
		t.Fatalf("%v", rows)
	}
	if rows[1][2] != "team_renamed" || rows[1][3] != ada.id || rows[1][4] != "'=HYPERLINK(Ada)" || rows[1][5] != `{"name": "\"Engines\", and more"}` {
		t.Errorf("the row is %q", rows[1])
	}
	following, ok := strings.CutPrefix(next, "<")
	following, rel, found := strings.Cut(following, ">; ")
	if !ok || !found || rel != `rel="next"` {
		t.Fatalf("the next is %q", next)
	}
	rows, next = csvOf(following)
	if len(rows) != 2 || rows[1][2] != "register" || next != "" {
		t.Errorf("then %v, %q", rows, next)
	}
	for _, bad := range []string{"limit=0", "limit=1001", "before=0", "before=x", "kind=x"} {
		c.want(c.as(ada, http.MethodGet, "/api/auth/teams/"+ada.team+"/audit?"+bad, nil, nil), http.StatusUnprocessableEntity)
	}
}
