package auth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
)

// person is somebody with an account, signed in.
type person struct {
	id, email, token string
	team             string // the one that the account began with
}

// crowd are the function and people who use it.
type crowd struct {
	*fixture
	t       *testing.T
	handler http.Handler
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	f := open(t)
	f.settings["RATE_LIMIT_SCALE"] = "1000000"
	f.settings["DATABASE_EXEC_MODE"] = "exec" // the harder one: types are known from Go alone; functions/access_test.go has the other
	return &crowd{fixture: f, t: t, handler: f.handler(t)}
}

func (c *crowd) person(name string) person {
	c.t.Helper()
	email := uuid.NewString() + "@example.com"
	got := registered(c.t, c.handler, ada("email", email, "name", name, "team", name+"'s"))
	return person{got.Body.User.ID, email, got.Body.AccessToken, got.Body.User.Teams[0].ID}
}

// as sends a request and reads the answer into into, unless it is nil.
func (c *crowd) as(p person, method, path string, body, into any) answer {
	c.t.Helper()
	got := call(c.t, c.handler, method, path, body, bearer(p.token))
	if into != nil && got.Status < 300 {
		if err := json.Unmarshal([]byte(got.Raw), into); err != nil {
			c.t.Errorf("%s %s: %v: %s", method, path, err, got.Raw)
		}
	}
	return got
}

// get returns an answer that is no JSON.
func (c *crowd) get(path string, options ...option) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, o := range options {
		o(r)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

// want fails the test unless the answer has a status and, where one is named, a code.
func (c *crowd) want(got answer, status int, code ...string) {
	c.t.Helper()
	if got.Status != status || len(code) > 0 && got.Body.Code != code[0] {
		c.t.Errorf("answered %d %s, want %d %v", got.Status, got.Raw, status, code)
	}
}

// joins has p become a member of a team, by an invitation of its owner.
func (c *crowd) joins(p, owner person, role string) {
	c.t.Helper()
	c.want(c.as(p, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": c.invitation(owner, role)}, nil), http.StatusOK)
}

// invitation is the secret of a new invitation to the owner's team.
func (c *crowd) invitation(owner person, role string) string {
	c.t.Helper()
	var made auth.NewInvitation
	c.want(c.as(owner, http.MethodPost, "/api/auth/teams/"+owner.team+"/invitations", map[string]any{"role": role, "for": "Grace"}, &made), http.StatusCreated)
	secret, ok := strings.CutPrefix(made.Link, "/#invitation=")
	if _, whole := access.IsSecret(access.LinkPrefix, secret); !ok || !whole {
		c.t.Fatalf("the link is %q", made.Link)
	}
	return secret
}

// roles are the members of a team with their roles, as p sees them.
func (c *crowd) roles(p person, team string) map[string]string {
	c.t.Helper()
	var got auth.Members
	c.want(c.as(p, http.MethodGet, "/api/auth/teams/"+team+"/members", nil, &got), http.StatusOK)
	roles := map[string]string{}
	for _, m := range got.Members {
		roles[m.ID] = m.Role
	}
	return roles
}

func member(team string, p person) string { return "/api/auth/teams/" + team + "/members/" + p.id }

func TestATeamFromItsBeginning(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada, grace, eve := c.person("Ada"), c.person("Grace"), c.person("Eve")

	var made auth.Team
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams", map[string]any{"name": " Looms ", "time_zone": "Asia/Tokyo"}, &made), http.StatusCreated)
	if made.Name != "Looms" || made.Role != "owner" || made.TimeZone != "Asia/Tokyo" {
		t.Errorf("made %+v", made)
	}
	for _, bad := range []map[string]any{{"name": " "}, {"name": "a\nb"}, {"name": "a", "time_zone": "Mars/Olympus"}} {
		c.want(c.as(ada, http.MethodPost, "/api/auth/teams", bad, nil), http.StatusUnprocessableEntity)
		c.want(c.as(ada, http.MethodPatch, "/api/auth/teams/"+made.ID, map[string]any{"name": "\u0007"}, nil), http.StatusUnprocessableEntity)
	}
	c.want(c.as(ada, http.MethodPatch, "/api/auth/teams/"+made.ID, map[string]any{"name": "Engines"}, nil), http.StatusNoContent)
	ada.team = made.ID
	c.joins(grace, ada, "viewer")

	var profile auth.Profile
	c.as(grace, http.MethodGet, "/api/auth/me", nil, &profile)
	if !slices.Contains(profile.Teams, auth.Team{ID: made.ID, Name: "Engines", Role: "viewer", TimeZone: "Asia/Tokyo"}) || len(profile.Teams) != 2 {
		t.Errorf("Grace is in %+v", profile.Teams)
	}
	c.want(c.as(ada, http.MethodPatch, member(made.ID, grace), map[string]any{"role": "editor"}, nil), http.StatusNoContent)
	if diff := cmp.Diff(map[string]string{ada.id: "owner", grace.id: "editor"}, c.roles(grace, made.ID)); diff != "" {
		t.Error(diff)
	}
	c.want(c.as(ada, http.MethodPatch, member(made.ID, eve), map[string]any{"role": "editor"}, nil), http.StatusNotFound)
	c.want(c.as(ada, http.MethodDelete, member(made.ID, eve), nil, nil), http.StatusNoContent) // as if it were a repeat

	// The last owner.
	for _, last := range []answer{
		c.as(ada, http.MethodPost, "/api/auth/teams/"+made.ID+"/leave", nil, nil),
		c.as(ada, http.MethodDelete, member(made.ID, ada), nil, nil),
		c.as(ada, http.MethodPatch, member(made.ID, ada), map[string]any{"role": "viewer"}, nil),
	} {
		c.want(last, http.StatusConflict, "last_owner")
	}
	c.want(c.as(ada, http.MethodPatch, member(made.ID, ada), map[string]any{"role": "owner"}, nil), http.StatusNoContent)
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams/"+made.ID+"/transfer", map[string]any{"user": ada.id}, nil), http.StatusUnprocessableEntity)
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams/"+made.ID+"/transfer", map[string]any{"user": eve.id}, nil), http.StatusNotFound)
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams/"+made.ID+"/transfer", map[string]any{"user": grace.id}, nil), http.StatusNoContent)
	if diff := cmp.Diff(map[string]string{ada.id: "editor", grace.id: "owner"}, c.roles(ada, made.ID)); diff != "" {
		t.Error(diff)
	}
	c.want(c.as(ada, http.MethodPatch, "/api/auth/teams/"+made.ID, map[string]any{"name": "Mine again"}, nil), http.StatusForbidden, "role_too_low")
	c.want(c.as(ada, http.MethodPost, "/api/auth/teams/"+made.ID+"/leave", nil, nil), http.StatusNoContent)
	c.want(c.as(ada, http.MethodGet, "/api/auth/teams/"+made.ID+"/members", nil, nil), http.StatusNotFound, "not_found")
	if diff := cmp.Diff(map[string]string{grace.id: "owner"}, c.roles(grace, made.ID)); diff != "" {
		t.Error(diff)
	}

	// All of it is in the audit log, which only owners read.
	c.want(c.as(eve, http.MethodGet, "/api/auth/teams/"+made.ID+"/audit", nil, nil), http.StatusNotFound)
	var kinds []string
	for _, e := range c.audit(grace, made.ID) {
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]string{"member_left", "team_transferred", "role_changed", "invitation_accepted", "invited", "team_renamed", "team_created"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// audit reads the whole log by pages of two.
func (c *crowd) audit(p person, team string) (all []auth.Event) {
	c.t.Helper()
	path := "/api/auth/teams/" + team + "/audit?limit=2"
	for next := path; next != ""; {
		var page auth.Events
		c.want(c.as(p, http.MethodGet, next, nil, &page), http.StatusOK)
		all = append(all, page.Events...)
		if next = ""; page.Next != nil {
			next = path + "&before=" + *page.Next
		}
		if len(page.Events) > 2 || len(all) > 1000 {
			c.t.Fatalf("%d events on a page", len(page.Events))
		}
	}
	return all
}

func TestOwnersWhoActAtOnceLeaveOne(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	for round := range 8 {
		owners := []person{c.person("Ada"), c.person("Grace"), c.person("Hedy"), c.person("Mary")}
		team := owners[0].team
		for _, p := range owners[1:] {
			c.joins(p, owners[0], "owner")
		}
		// Everybody goes, by all the ways there are.
		ways := []func(i int, p person) answer{
			func(_ int, p person) answer {
				return c.as(p, http.MethodPost, "/api/auth/teams/"+team+"/leave", nil, nil)
			},
			func(i int, p person) answer {
				return c.as(p, http.MethodDelete, member(team, owners[(i+1)%len(owners)]), nil, nil)
			},
			func(i int, p person) answer {
				return c.as(p, http.MethodPatch, member(team, owners[(i+2)%len(owners)]), map[string]any{"role": "viewer"}, nil)
			},
			func(_ int, p person) answer {
				return c.as(p, http.MethodPost, "/api/auth/me/delete", map[string]any{"current_password": password}, nil)
			},
		}
		var all sync.WaitGroup
		for i, p := range owners {
			all.Go(func() {
				got := ways[(round+i*(round/4))%len(ways)](i, p)
				if got.Status >= 500 && got.Status != http.StatusServiceUnavailable {
					t.Errorf("%d %s", got.Status, got.Raw)
				}
			})
		}
		all.Wait()
		exists := c.count(t, "teams WHERE id = $1", team)
		left := c.count(t, "memberships WHERE team_id = $1 AND role = 'owner'", team)
		if members := c.count(t, "memberships WHERE team_id = $1", team); exists == 1 && left == 0 || members > 0 && left == 0 {
			t.Fatalf("round %d: the team has %d members and no owner", round, members)
		}
	}
}

func TestAnInvitationLetsOneIn(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	secret := c.invitation(owner, "editor")
	var shown auth.ShownLink
	c.want(c.as(person{}, http.MethodPost, "/api/auth/links/show", map[string]any{"link": secret}, &shown), http.StatusOK)
	if shown.Kind != "invitation" || shown.Team != "Ada's" || shown.Role != "editor" || shown.By != "Ada" {
		t.Errorf("shown %+v", shown)
	}
	var open auth.Invitations
	c.want(c.as(owner, http.MethodGet, "/api/auth/teams/"+owner.team+"/invitations", nil, &open), http.StatusOK)
	if len(open.Invitations) != 1 || open.Invitations[0].For != "Grace" || open.Invitations[0].By != "Ada" || strings.Contains(fmt.Sprint(open), secret) {
		t.Errorf("open are %+v", open)
	}

	people := []person{c.person("Grace"), c.person("Hedy"), c.person("Mary"), c.person("Edith")}
	got := make([]answer, 2*len(people))
	var all sync.WaitGroup
	for i := range got { // each of them twice
		all.Go(func() {
			got[i] = c.as(people[i/2], http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": secret}, nil)
		})
	}
	all.Wait()
	in := 0
	for i := range people {
		first, second := got[2*i], got[2*i+1]
		if first.Status != second.Status || first.Status != http.StatusOK && first.Body.Code != "link_used" {
			t.Errorf("one person is answered %d %s and %d %s", first.Status, first.Raw, second.Status, second.Raw)
		}
		if first.Status == http.StatusOK {
			in++
		}
	}
	if roles := c.roles(owner, owner.team); in != 1 || len(roles) != 2 {
		t.Errorf("%d were let in; the team is %v", in, roles)
	}
	c.want(c.as(person{}, http.MethodPost, "/api/auth/links/show", map[string]any{"link": secret}, nil), http.StatusGone, "link_used")

	// Whoever belongs already uses nothing up.
	again := c.invitation(owner, "viewer")
	var team auth.Team
	c.want(c.as(owner, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": again}, &team), http.StatusOK)
	if team.Role != "owner" {
		t.Errorf("the owner became %s", team.Role)
	}
	c.joinsBy(c.person("Rosalind"), again)
}

// Who waits for an invitation that somebody else is using finds it used.
func TestAnInvitationIsUsedOnceByThoseWhoWait(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, people := c.person("Ada"), []person{c.person("Grace"), c.person("Hedy")}
	secret := c.invitation(owner, "viewer")
	got := make([]answer, len(people))
	var all sync.WaitGroup
	c.hold("SELECT FROM links FOR UPDATE", nil, len(people), func() {
		for i, p := range people {
			all.Go(func() {
				got[i] = c.as(p, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": secret}, nil)
			})
		}
	})
	all.Wait()
	if first, second := got[0].Status, got[1].Status; first+second != http.StatusOK+http.StatusGone || len(c.roles(owner, owner.team)) != 2 {
		t.Errorf("answered %d %s and %d %s", first, got[0].Raw, second, got[1].Raw)
	}
}

func (c *crowd) joinsBy(p person, secret string) {
	c.t.Helper()
	c.want(c.as(p, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": secret}, nil), http.StatusOK)
}

func TestLinksThatAreGoodForNothing(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, other := c.person("Ada"), c.person("Grace")
	expired := c.invitation(owner, "viewer")
	c.exec(t, "UPDATE links SET expires_at = now() - interval '1 second'")
	revoked := c.invitation(owner, "viewer")
	var open auth.Invitations
	c.as(owner, http.MethodGet, "/api/auth/teams/"+owner.team+"/invitations", nil, &open)
	if len(open.Invitations) != 1 {
		t.Fatalf("open are %+v", open)
	}
	at := "/api/auth/teams/" + owner.team + "/invitations/" + open.Invitations[0].ID
	c.want(c.as(other, http.MethodDelete, at, nil, nil), http.StatusNotFound)
	c.want(c.as(other, http.MethodDelete, "/api/auth/teams/"+other.team+"/invitations/"+open.Invitations[0].ID, nil, nil), http.StatusNotFound)
	for range 2 {
		c.want(c.as(owner, http.MethodDelete, at, nil, nil), http.StatusNoContent)
	}
	unknown := access.NewSecret(access.LinkPrefix)
	for _, bad := range []struct {
		link, code string
		status     int
	}{
		{expired, "link_expired", http.StatusGone}, {revoked, "link_revoked", http.StatusGone}, {unknown, "link_unknown", http.StatusNotFound},
		{unknown[:len(unknown)-1], "invalid_request", http.StatusUnprocessableEntity}, {access.NewSecret(access.TokenPrefix), "invalid_request", http.StatusUnprocessableEntity},
		{"", "invalid_request", http.StatusUnprocessableEntity},
	} {
		c.want(c.as(other, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": bad.link}, nil), bad.status, bad.code)
		c.want(c.as(person{}, http.MethodPost, "/api/auth/links/show", map[string]any{"link": bad.link}, nil), bad.status, bad.code)
		c.want(c.as(person{}, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": bad.link, "new_password": "another good phrase"}, nil), bad.status, bad.code)
		if bad.link != "" {
			c.want(register(t, c.handler, ada("email", uuid.NewString()+"@example.com", "link", bad.link)), bad.status, bad.code)
		}
	}
	c.want(c.as(other, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": c.operatorLink(auth.NewOwnerLink)}, nil), http.StatusNotFound, "link_unknown")
	good := c.invitation(owner, "viewer")
	c.want(c.as(person{}, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": good, "new_password": "another good phrase"}, nil), http.StatusNotFound, "link_unknown")
	// A wrong checksum is seen without asking anybody.
	c.handler = c.untouched(t)
	wrong := []byte(good)
	wrong[len(access.LinkPrefix)] ^= 1
	c.want(c.as(person{}, http.MethodPost, "/api/auth/links/show", map[string]any{"link": string(wrong)}, nil), http.StatusUnprocessableEntity)
}
