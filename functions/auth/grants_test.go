package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/githubtest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachGrantIsNeeded(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, mails)
	f, handler := o.fixture, o.handler
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	accounts := 0
	pgtest.ForEveryGrant(t, f.db.Config().ConnString(), auth.Function, func() bool {
		accounts++
		address := fmt.Sprintf("ada%d@example.com", accounts)
		first := register(t, handler, ada("email", address))
		if first.Status != http.StatusCreated {
			return false
		}
		f.exec(t, `UPDATE users SET password_hash = $1 WHERE email = $2`, string(old), address) // is replaced at sign-in
		second := login(t, handler, address, password, cookie(first.Cookie))
		if second.Status != http.StatusOK || login(t, handler, address, "another").Status != http.StatusUnauthorized {
			return false
		}
		token := second.Body.AccessToken
		if forgot(t, handler, address).Status != http.StatusAccepted {
			return false
		}
		if !signsInWithGitHub(t, o, accounts, address, token) {
			return false
		}
		all, listed := sessions(t, handler, token)
		third := changePassword(t, handler, token, password, password+", or longer")
		token = third.Body.AccessToken
		return listed.Status == http.StatusOK && len(all) == 1 && third.Status == http.StatusOK && runsATeam(t, f, handler, token, third.Body.User.Teams[0].ID) &&
			me(t, handler, bearer(token)).Status == http.StatusOK &&
			endSession(t, handler, token, all[0].ID).Status == http.StatusNoContent &&
			logoutEverywhere(t, handler, token).Status == http.StatusNoContent &&
			logout(t, handler, cookie(third.Cookie)).Status == http.StatusNoContent
	})
}

// signsInWithGitHub tells whether all works that has to do with it.
func signsInWithGitHub(t *testing.T, o *octopus, number int, address, token string) bool {
	t.Helper()
	at := func(b *browser, login, email string) string {
		who := githubtest.Person{ID: int64(number), Login: login, Emails: []githubtest.Email{{Email: email, Primary: true, Verified: true}}}
		return b.send(http.MethodGet, o.github.Authorize(b.start("/api/auth/github/start"), who).RequestURI(), nil).Header().Get("Location")
	}
	status := func(w *httptest.ResponseRecorder) int { return w.Code }
	b := o.browser(t)
	if !strings.HasPrefix(at(b, "first", address), "/#github=link&") || status(b.send(http.MethodPost, linkPath, map[string]any{"password": password})) != 200 ||
		at(b, "renamed", address) != "/#github=signed-in" ||
		status(b.send(http.MethodGet, "/api/auth/github", nil, "Authorization=Bearer "+token)) != 200 ||
		status(b.send(http.MethodDelete, "/api/auth/github", nil, "Authorization=Bearer "+token)) != 204 {
		return false
	}
	return strings.HasPrefix(at(b, "first", "new"+address), "/#github=register&") && status(b.send(http.MethodPost, registerPath, map[string]any{"team": "x"})) == 201 &&
		o.count(t, "user_identities WHERE subject = $1 AND login = 'first'", fmt.Sprint(number)) == 1
}

// runsATeam tells whether all that an owner does with a team works.
func runsATeam(t *testing.T, f *fixture, handler http.Handler, token, team string) bool {
	t.Helper()
	at := "/api/auth/teams/" + team
	var link string
	f.exec(t, "UPDATE links SET revoked_at = NULL")
	f.exec(t, "UPDATE api_tokens SET revoked_at = NULL")
	do := func(as, method, path string, body map[string]any, status int) (answer, bool) {
		var sent any
		if body != nil {
			sent = body
		}
		got := call(t, handler, method, path, sent, bearer(as))
		var said struct{ Link string }
		if json.Unmarshal([]byte(got.Raw), &said) == nil && said.Link != "" {
			_, link, _ = strings.Cut(said.Link, "=")
		}
		return got, got.Status == status
	}
	ok := func(method, path string, body map[string]any, status int) bool {
		_, well := do(token, method, path, body, status)
		return well
	}
	id := func(list, of string) string {
		var id string
		f.get(t, &id, "SELECT id::text FROM "+list+" WHERE team_id = $1 ORDER BY created_at DESC LIMIT 1", of)
		return id
	}
	if !ok(http.MethodPatch, at, map[string]any{"name": uuid.NewString()}, 204) ||
		!ok(http.MethodPost, "/api/auth/teams", map[string]any{"name": "Another"}, 201) ||
		!ok(http.MethodPatch, "/api/auth/me", map[string]any{"name": "Another"}, 200) ||
		!ok(http.MethodPost, at+"/tokens", map[string]any{"name": "x", "scope": "read"}, 201) ||
		!ok(http.MethodGet, at+"/tokens", nil, 200) || !ok(http.MethodDelete, at+"/tokens/"+id("api_tokens", team), nil, 204) ||
		!ok(http.MethodPost, at+"/trusted-repositories", shop(), 201) || !ok(http.MethodPost, at+"/trusted-repositories", shop("name", "another"), 201) ||
		!ok(http.MethodGet, at+"/trusted-repositories", nil, 200) || !ok(http.MethodDelete, at+"/trusted-repositories/"+id("trusted_repositories", team), nil, 204) ||
		!ok(http.MethodPost, at+"/invitations", map[string]any{"role": "editor"}, 201) || !ok(http.MethodGet, at+"/invitations", nil, 200) ||
		!ok(http.MethodDelete, at+"/invitations/"+id("links", team), nil, 204) || !ok(http.MethodPost, at+"/invitations", map[string]any{"role": "editor", "for": "Grace"}, 201) ||
		!ok(http.MethodPost, "/api/auth/links/show", map[string]any{"link": link}, 200) {
		return false
	}
	guest := register(t, handler, someone("team", "", "link", link))
	if guest.Status != http.StatusCreated {
		return false
	}
	member := at + "/members/" + guest.Body.User.ID
	if !ok(http.MethodGet, at+"/members", nil, 200) || !ok(http.MethodPost, member+"/password-link", nil, 201) || !ok(http.MethodPost, member+"/password-link", nil, 201) {
		return false
	}
	reset := call(t, handler, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": link, "new_password": "another good phrase"})
	if reset.Status != http.StatusOK || !ok(http.MethodPatch, member, map[string]any{"role": "viewer"}, 204) || !ok(http.MethodDelete, member, nil, 204) ||
		!ok(http.MethodPost, at+"/invitations", map[string]any{"role": "editor"}, 201) {
		return false
	}
	joined, well := do(reset.Body.AccessToken, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": link}, 200)
	if !well || !strings.Contains(joined.Raw, `"role":"editor"`) || !ok(http.MethodPost, at+"/transfer", map[string]any{"user": guest.Body.User.ID}, 204) ||
		!ok(http.MethodPost, "/api/auth/me/export", nil, 200) {
		return false
	}
	audit, well := do(reset.Body.AccessToken, http.MethodGet, at+"/audit", nil, 200)
	if !well || !strings.Contains(audit.Raw, "team_transferred") || !strings.Contains(audit.Raw, "another") && !strings.Contains(audit.Raw, "Another") {
		return false
	}
	_, left := do(token, http.MethodPost, at+"/leave", nil, 204)
	_, gone := do(reset.Body.AccessToken, http.MethodPost, "/api/auth/me/delete", map[string]any{"current_password": "another good phrase"}, 204)
	var exists bool
	f.get(t, &exists, "SELECT EXISTS (SELECT FROM teams WHERE id = $1)", team)
	owner := access.NewSecret(access.LinkPrefix)
	return left && gone && !exists && auth.NewOwnerLink(t.Context(), f.db, access.DigestOf(owner).Bytes()) == nil && register(t, handler, someone("link", owner)).Status == http.StatusCreated
}
