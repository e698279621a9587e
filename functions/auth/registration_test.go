package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// operatorLink is what the operator's command makes.
func (c *crowd) operatorLink(make func(ctx context.Context, db postgres.DB, secret []byte) error) string {
	c.t.Helper()
	secret := access.NewSecret(access.LinkPrefix)
	if err := make(c.t.Context(), c.db, access.DigestOf(secret).Bytes()); err != nil {
		c.t.Fatal(err)
	}
	return secret
}

func someone(changes ...string) map[string]any {
	return ada(append([]string{"email", uuid.NewString() + "@example.com"}, changes...)...)
}

func TestWhoMayRegister(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	for mode, want := range map[string]struct {
		bare, invited, operator int
		code                    string
	}{
		"open":   {201, 201, 201, ""},
		"invite": {403, 201, 201, "registration_by_invitation"},
		"closed": {403, 403, 201, "registration_closed"},
		"":       {403, 403, 201, "registration_closed"},
	} {
		handler := c.with(t, map[string]string{"REGISTRATION": mode})
		got := register(t, handler, someone())
		if got.Status != want.bare || got.Body.Code != want.code {
			t.Errorf("%q: without a link %d %s", mode, got.Status, got.Raw)
		}
		got = register(t, handler, someone("team", "", "link", c.invitation(owner, "editor")))
		if got.Status != want.invited {
			t.Errorf("%q: with an invitation %d %s", mode, got.Status, got.Raw)
		}
		if got.Status == http.StatusCreated && (len(got.Body.User.Teams) != 1 || got.Body.User.Teams[0] != auth.Team{ID: owner.team, Name: "Ada's", Role: "editor", TimeZone: "UTC"}) {
			t.Errorf("%q: an invitation leads to %+v", mode, got.Body.User.Teams)
		}
		link := c.operatorLink(auth.NewOwnerLink)
		if got := register(t, handler, someone("team", "", "link", link)); got.Status != http.StatusUnprocessableEntity {
			t.Errorf("%q: an owner without a team: %d %s", mode, got.Status, got.Raw)
		}
		got = register(t, handler, someone("link", link, "time_zone", "Asia/Tokyo"))
		if got.Status != want.operator || got.Body.User.Teams[0].Role != "owner" || got.Body.User.Teams[0].TimeZone != "Asia/Tokyo" {
			t.Errorf("%q: with an operator's link %d %s", mode, got.Status, got.Raw)
		}
		if again := register(t, handler, someone("link", link)); again.Status != http.StatusGone {
			t.Errorf("%q: with it again %d %s", mode, again.Status, again.Raw)
		}
		var rule auth.RegistrationRule
		raw := call(t, handler, http.MethodGet, "/api/auth/registration", nil).Raw
		if err := json.Unmarshal([]byte(raw), &rule); err != nil || rule.Mode != mode && (mode != "" || rule.Mode != "closed") {
			t.Errorf("%q says %s", mode, raw)
		}
	}
}

func TestALinkRegistersOne(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	link := c.operatorLink(auth.NewOwnerLink)
	got := make([]answer, 4)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i] = register(t, c.handler, someone("link", link)) })
	}
	all.Wait()
	in := 0
	for _, one := range got {
		switch {
		case one.Status == http.StatusCreated:
			in++
		case one.Status != http.StatusGone || one.Body.Code != "link_used":
			t.Errorf("%d %s", one.Status, one.Raw)
		}
	}
	if users := c.count(t, "users"); in != 1 || users != 1 {
		t.Errorf("%d were let in, and there are %d accounts", in, users)
	}
}

func TestRegistrationIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	f := open(t)
	var said bytes.Buffer
	code := function.Run(t.Context(), auth.Function, func(name string) (string, bool) {
		if name == "REGISTRATION" {
			return "Open", true
		}
		value, ok := f.settings[name]
		return value, ok
	}, &said, func(string, string) error { return nil }, 0)
	if code != 2 || !strings.Contains(said.String(), `REGISTRATION must be open, invite or closed, not "Open"`) {
		t.Errorf("%d: %s", code, said.String())
	}
}

func TestALinkSetsAPassword(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, grace, eve := c.person("Ada"), c.person("Grace"), c.person("Eve")
	c.joins(grace, owner, "editor")
	at := member(owner.team, grace) + "/password-link"
	// Grace has a team of her own, which this would open.
	c.want(c.as(owner, http.MethodPost, at, nil, nil), http.StatusForbidden, "belongs_elsewhere")
	c.want(c.as(grace, http.MethodPost, member(owner.team, owner)+"/password-link", nil, nil), http.StatusForbidden, "role_too_low")
	c.want(c.as(eve, http.MethodPost, at, nil, nil), http.StatusNotFound)
	c.want(c.as(owner, http.MethodPost, member(owner.team, eve)+"/password-link", nil, nil), http.StatusNotFound)
	c.exec(t, "DELETE FROM teams WHERE id = $1", grace.team)
	secretOf := func() string {
		var made auth.PasswordLink
		c.want(c.as(owner, http.MethodPost, at, nil, &made), http.StatusCreated)
		return strings.TrimPrefix(made.Link, "/#password=")
	}
	reset := func(link, new string) answer {
		return call(t, c.handler, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": link, "new_password": new})
	}
	older, link := secretOf(), secretOf()
	c.want(reset(older, "another good phrase"), http.StatusGone, "link_revoked")
	c.want(reset(link, grace.email), http.StatusUnprocessableEntity)
	got := make([]answer, 3)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i] = reset(link, "another good phrase") })
	}
	all.Wait()
	in := 0
	for _, one := range got {
		if one.Status == http.StatusOK {
			in++
			c.want(me(t, c.handler, bearer(one.Body.AccessToken)), http.StatusOK)
		} else {
			c.want(one, http.StatusGone, "link_used")
		}
	}
	if in != 1 {
		t.Errorf("the link was good for %d", in)
	}
	c.want(me(t, c.handler, bearer(grace.token)), http.StatusUnauthorized)
	if n := c.count(t, "sessions WHERE user_id = $1 AND revoke_reason = 'password'", grace.id); n != 1 {
		t.Errorf("%d sessions were ended", n)
	}
	c.want(login(t, c.handler, grace.email, password), http.StatusUnauthorized)
	c.want(login(t, c.handler, grace.email, "another good phrase"), http.StatusOK)

	// The operator's.
	made := c.operatorLink(func(ctx context.Context, db postgres.DB, secret []byte) error {
		return auth.NewPasswordLink(ctx, db, strings.ToUpper(grace.email), secret)
	})
	c.exec(t, "UPDATE users SET disabled_at = now() WHERE id = $1", grace.id)
	c.want(reset(made, "a third good phrase"), http.StatusNotFound, "link_unknown")
	for _, wrong := range []string{"nobody@example.com", "nobody"} {
		if err := auth.NewPasswordLink(t.Context(), c.db, wrong, access.DigestOf(wrong).Bytes()); err == nil {
			t.Errorf("a link for %s", wrong)
		}
	}
}
