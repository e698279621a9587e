package auth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
)

func TestAnAPITokenIsShownOnce(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, editor, other := c.person("Ada"), c.person("Grace"), c.person("Eve")
	c.joins(editor, owner, "editor")
	tokens := "/api/auth/teams/" + owner.team + "/tokens"
	for _, bad := range []map[string]any{{"name": "x", "scope": "admin"}, {"name": " ", "scope": "read"}, {"name": "x", "scope": "read", "days": 367}, {"name": "x", "scope": "read", "days": -1}} {
		c.want(c.as(owner, http.MethodPost, tokens, bad, nil), http.StatusUnprocessableEntity)
	}
	c.want(c.as(editor, http.MethodPost, tokens, map[string]any{"name": "x", "scope": "read"}, nil), http.StatusForbidden, "role_too_low")
	c.want(c.as(other, http.MethodPost, tokens, map[string]any{"name": "x", "scope": "read"}, nil), http.StatusNotFound)

	var made auth.NewAPIToken
	got := c.as(owner, http.MethodPost, tokens, map[string]any{"name": "nightly", "scope": "report", "days": 30}, &made)
	c.want(got, http.StatusCreated)
	if _, whole := access.IsSecret(access.TokenPrefix, made.Token); !whole || got.Header.Get("Cache-Control") != "no-store" || made.ExpiresAt.Sub(made.CreatedAt) != 30*24*time.Hour {
		t.Errorf("made %+v", made)
	}
	var byDefault auth.NewAPIToken
	c.want(c.as(owner, http.MethodPost, tokens, map[string]any{"name": "board", "scope": "read"}, &byDefault), http.StatusCreated)
	if byDefault.ExpiresAt.Sub(byDefault.CreatedAt) != 90*24*time.Hour {
		t.Errorf("made %+v", byDefault)
	}
	var list auth.APITokens
	got = c.as(owner, http.MethodGet, tokens, nil, &list)
	if len(list.Tokens) != 2 || list.Tokens[1].Name != "nightly" || list.Tokens[1].Scope != "report" || list.Tokens[1].By != "Ada" || list.Tokens[1].LastUsedAt != nil || strings.Contains(got.Raw, access.TokenPrefix) {
		t.Errorf("listed %s", got.Raw)
	}
	var dump string
	if err := c.db.QueryRow(t.Context(), "SELECT string_agg(api_tokens::text, ' ') FROM api_tokens").Scan(&dump); err != nil || strings.Contains(dump, made.Token[len(access.TokenPrefix):]) {
		t.Errorf("kept is %s, %v", dump, err)
	}

	c.want(c.as(other, http.MethodDelete, "/api/auth/teams/"+other.team+"/tokens/"+made.ID, nil, nil), http.StatusNotFound)
	for range 2 {
		c.want(c.as(owner, http.MethodDelete, tokens+"/"+made.ID, nil, nil), http.StatusNoContent)
	}
	c.want(c.as(owner, http.MethodGet, tokens, nil, &list), http.StatusOK)
	if len(list.Tokens) != 1 || c.count(t, "auth_events WHERE kind = 'token_revoked'") != 1 {
		t.Errorf("left are %+v", list.Tokens)
	}
	// No route of auth takes one.
	c.want(call(t, c.handler, http.MethodGet, tokens, nil, bearer(byDefault.Token)), http.StatusForbidden, "no_tokens")
	c.want(call(t, c.handler, http.MethodGet, "/api/auth/me", nil, bearer(byDefault.Token)), http.StatusForbidden, "no_tokens")
}

// Each list has an end, and says where it is.
func TestTeamsHaveLimits(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, guest := c.person("Ada"), c.person("Grace")
	link := c.invitation(owner, "viewer")
	c.exec(t, `INSERT INTO api_tokens (team_id, name, scope, secret_hash, expires_at) SELECT $1, 'x', 'read', sha256(n::text::bytea), now() + interval '1 day' FROM generate_series(1, 50) n`, owner.team)
	c.exec(t, `INSERT INTO links (kind, team_id, role, secret_hash, created_by, expires_at) SELECT 'invitation', $1, 'viewer', sha256(n::text::bytea), $2, now() + interval '1 day' FROM generate_series(1, 99) n`, owner.team, owner.id)
	c.exec(t, `WITH t AS (INSERT INTO teams (name) SELECT 'x' FROM generate_series(1, 49) RETURNING id) INSERT INTO memberships (user_id, team_id, role) SELECT $1, id, 'owner' FROM t`, guest.id)
	team := "/api/auth/teams/" + owner.team
	for most, got := range map[string]answer{
		"at most 50. Revoke":    c.as(owner, http.MethodPost, team+"/tokens", map[string]any{"name": "x", "scope": "read"}, nil),
		"at most 100. Take one": c.as(owner, http.MethodPost, team+"/invitations", map[string]any{"role": "viewer"}, nil),
		"at most 50. Leave":     c.as(guest, http.MethodPost, "/api/auth/teams", map[string]any{"name": "x"}, nil),
		"is at most 50. Leave":  c.as(guest, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": link}, nil),
	} {
		c.want(got, http.StatusConflict, "too_many")
		if !strings.Contains(got.Raw, most) {
			t.Errorf("%s does not say %q", got.Raw, most)
		}
	}
	// What has ended does not count.
	c.exec(t, "UPDATE api_tokens SET expires_at = now() - interval '1 second' WHERE id = (SELECT id FROM api_tokens LIMIT 1)")
	c.want(c.as(owner, http.MethodPost, team+"/tokens", map[string]any{"name": "x", "scope": "read"}, nil), http.StatusCreated)
	c.exec(t, "DELETE FROM memberships WHERE team_id = (SELECT team_id FROM memberships WHERE user_id = $1 LIMIT 1)", guest.id)
	c.exec(t, `WITH u AS (INSERT INTO users (email, email_key, name, password_hash) SELECT n::text, n::text, 'x', '' FROM generate_series(1, 499) n RETURNING id) INSERT INTO memberships (user_id, team_id, role) SELECT id, $1, 'viewer' FROM u`, owner.team)
	for _, got := range []answer{
		c.as(guest, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": link}, nil),
		register(t, c.handler, ada("team", "", "link", link)),
	} {
		c.want(got, http.StatusConflict, "too_many")
		if !strings.Contains(got.Raw, "at most 500") {
			t.Error(got.Raw)
		}
	}
}
