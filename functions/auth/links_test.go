package auth_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

const fresh = "another good phrase"

func (c *crowd) show(link string) answer {
	return c.as(person{}, http.MethodPost, "/api/auth/links/show", map[string]any{"link": link}, nil)
}

func (c *crowd) accept(p person, link string) answer {
	return c.as(p, http.MethodPost, "/api/auth/invitations/accept", map[string]any{"link": link}, nil)
}

func (c *crowd) reset(link string) answer {
	return c.as(person{}, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": link, "new_password": fresh}, nil)
}

func (c *crowd) give(owner, p person, role string) {
	c.t.Helper()
	c.want(c.as(owner, http.MethodPatch, member(owner.team, p), map[string]any{"role": role}, nil), http.StatusNoContent)
}

func (c *crowd) delete(p person) answer {
	return c.as(p, http.MethodPost, "/api/auth/me/delete", map[string]any{"current_password": password}, nil)
}

// homeless is a person who belongs to the owner's team alone.
func (c *crowd) homeless(owner person, role string) person {
	c.t.Helper()
	p := c.person("Mary")
	c.joins(p, owner, role)
	c.exec(c.t, "DELETE FROM teams WHERE id = $1", p.team)
	p.team = owner.team
	return p
}

func (c *crowd) passwordLink(owner, p person) string {
	c.t.Helper()
	var made auth.PasswordLink
	c.want(c.as(owner, http.MethodPost, member(owner.team, p)+"/password-link", nil, &made), http.StatusCreated)
	return strings.TrimPrefix(made.Link, "/#password=")
}

// Who was an owner has kept a link; it must not lead back in.
func TestLinksEndWithTheRoleOfWhoMadeThem(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada := c.person("Ada")
	grace := c.homeless(ada, "owner")
	link := c.invitation(grace, "owner")
	c.want(c.show(link), http.StatusOK)
	c.give(ada, grace, "editor")
	c.want(c.show(link), http.StatusGone, "link_expired")
	c.want(c.accept(c.person("Eve"), link), http.StatusGone, "link_expired")
	c.want(register(t, c.handler, someone("team", "", "link", link)), http.StatusGone, "link_expired")
	var open auth.Invitations
	c.as(ada, http.MethodGet, "/api/auth/teams/"+ada.team+"/invitations", nil, &open)
	if len(open.Invitations) != 0 {
		t.Errorf("open are %+v", open)
	}
	c.give(ada, grace, "owner")
	c.want(c.show(link), http.StatusOK)
	c.want(c.delete(grace), http.StatusNoContent)
	c.want(c.show(link), http.StatusGone, "link_revoked")
}

func TestPasswordLinksEndWithTheRightToMakeThem(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	for why, change := range map[string]func(owner, other, member person){
		"the member joins another team": func(_, _, member person) { c.joins(member, c.person("Eve"), "viewer") },
		"the maker is an editor":        func(owner, other, _ person) { c.give(other, owner, "editor") },
		"the maker is removed": func(owner, other, _ person) {
			c.want(c.as(other, http.MethodDelete, member(other.team, owner), nil, nil), http.StatusNoContent)
		},
		"the member is removed": func(owner, _, gone person) {
			c.want(c.as(owner, http.MethodDelete, member(owner.team, gone), nil, nil), http.StatusNoContent)
		},
		"the maker has no account": func(owner, _, _ person) { c.want(c.delete(owner), http.StatusNoContent) },
		"the member has another password": func(_, _, member person) {
			c.want(c.as(member, http.MethodPut, "/api/auth/password", map[string]any{"current_password": password, "new_password": fresh}, nil), http.StatusOK)
		},
	} {
		owner := c.person("Ada")
		other, member := c.homeless(owner, "owner"), c.homeless(owner, "viewer")
		link := c.passwordLink(owner, member)
		change(owner, other, member)
		if got := c.reset(link); got.Status != http.StatusGone {
			t.Errorf("%s: %d %s", why, got.Status, got.Raw)
		}
	}
}

// A session that was left open must not be enough for another password.
func TestNobodyMakesAPasswordLinkForThemselves(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	ada := c.person("Ada")
	c.want(c.as(ada, http.MethodPost, member(ada.team, ada)+"/password-link", nil, nil), http.StatusUnprocessableEntity)
	if n := c.count(t, "links"); n != 0 {
		t.Errorf("%d links", n)
	}
}

func TestANewPasswordEndsTheOtherLinks(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	grace := c.homeless(owner, "viewer")
	first := c.passwordLink(owner, grace)
	second := c.passwordLink(owner, grace)
	// As two that were made at once.
	c.exec(t, "UPDATE links SET revoked_at = NULL WHERE kind = 'password'")
	c.want(c.reset(second), http.StatusOK)
	c.want(c.reset(first), http.StatusGone, "link_revoked")
}

// hold runs a statement in a transaction that ends once so many others wait for it.
func (c *crowd) hold(sql string, args []any, waiting int, start func()) {
	c.t.Helper()
	tx, err := c.db.Begin(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(c.t.Context())) }()
	if _, err := tx.Exec(c.t.Context(), sql, args...); err != nil {
		c.t.Fatal(err)
	}
	start()
	c.waits(waiting)
	if err := tx.Commit(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// waits returns once so many wait for a lock. Who does not come to wait fails the test,
// which goes on, so that nobody is left behind.
func (c *crowd) waits(n int) {
	c.t.Helper()
	const patience = 20 * time.Second
	for begun := time.Now(); c.count(c.t, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") < n; {
		if time.Since(begun) > patience {
			c.t.Errorf("fewer than %d wait for a lock", n)
			return
		}
		runtime.Gosched()
	}
}

// Whose account is deleted meanwhile is told that they are signed out, whatever they
// were making.
func TestNothingIsMadeByWhoIsBeingDeleted(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	link := c.invitation(owner, "viewer")
	grace := c.homeless(owner, "owner")
	team := "/api/auth/teams/" + owner.team
	asks := []func() answer{
		func() answer {
			return c.as(grace, http.MethodPost, team+"/invitations", map[string]any{"role": "viewer"}, nil)
		},
		func() answer {
			return c.as(grace, http.MethodPost, team+"/tokens", map[string]any{"name": "x", "scope": "read"}, nil)
		},
		func() answer {
			return c.as(grace, http.MethodPost, "/api/auth/teams", map[string]any{"name": "x"}, nil)
		},
	}
	elsewhere := c.person("Eve")
	there := c.invitation(elsewhere, "viewer")
	asks = append(asks, func() answer { return c.accept(grace, there) })
	got := make([]answer, len(asks))
	var all sync.WaitGroup
	c.hold("DELETE FROM users WHERE id = $1", []any{grace.id}, len(asks), func() {
		for i, ask := range asks {
			all.Go(func() { got[i] = ask() })
		}
	})
	all.Wait()
	for i := range got {
		c.want(got[i], http.StatusUnauthorized, "session_revoked")
	}
	c.want(c.show(there), http.StatusOK)
	c.want(c.show(link), http.StatusOK)
}

// A team that goes with its owner, and who accepts an invitation into it.
func TestWhoAcceptsAndWhoDeletesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, guest := c.person("Ada"), c.person("Grace")
	link := c.invitation(owner, "viewer")
	var accepted, deleted answer
	var all sync.WaitGroup
	c.hold("SELECT FROM links FOR UPDATE", nil, 2, func() {
		all.Go(func() { accepted = c.accept(guest, link) })
		c.waits(1)
		all.Go(func() { deleted = c.delete(owner) })
	})
	all.Wait()
	c.want(accepted, http.StatusOK)
	c.want(deleted, http.StatusConflict, "last_owner")
}

func TestWhoResetsAndWhoDeletesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	grace := c.homeless(owner, "viewer")
	link := c.passwordLink(owner, grace)
	var set, deleted answer
	var all sync.WaitGroup
	c.hold("SELECT FROM links FOR UPDATE", nil, 2, func() {
		all.Go(func() { set = c.reset(link) })
		c.waits(1)
		all.Go(func() { deleted = c.delete(grace) })
	})
	all.Wait()
	c.want(set, http.StatusOK)
	c.want(deleted, http.StatusUnauthorized, "session_revoked") // the new password ended the session
}

func TestWhoMakesALinkAndWhoDeletesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	grace := c.homeless(owner, "viewer")
	var made, deleted answer
	var all sync.WaitGroup
	c.hold("SELECT FROM memberships WHERE role = 'owner' FOR UPDATE", nil, 2, func() {
		all.Go(func() { made = c.as(owner, http.MethodPost, member(owner.team, grace)+"/password-link", nil, nil) })
		c.waits(1)
		all.Go(func() { deleted = c.delete(grace) })
	})
	all.Wait()
	c.want(made, http.StatusCreated)
	c.want(deleted, http.StatusNoContent)
	if n := c.count(t, "links WHERE kind = 'password'"); n != 0 {
		t.Errorf("%d links outlive the account", n)
	}
}

// An account goes whole or not at all, wherever the connection breaks.
func TestDeletingAnAccountWithoutDatabase(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	handler := c.handler
	for n, proxy := range pgtest.Breaks(t, c.settings["DATABASE_URL"]) {
		c.handler = handler
		p := c.person("Ada")
		c.handler = c.with(t, map[string]string{"DATABASE_URL": proxy.URL})
		got := c.delete(p)
		if want := http.StatusNoContent; !proxy.Broken() {
			c.want(got, want)
		} else if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("step %d: %d %s", n, got.Status, got.Raw)
		}
		users, teams := c.count(t, "users WHERE id = $1", p.id), c.count(t, "teams WHERE id = $1", p.team)
		events := c.count(t, "auth_events WHERE kind = 'account_deleted' AND user_id = $1", p.id)
		if users != teams || users+events != 1 {
			t.Errorf("step %d: %d accounts, %d teams and %d events are left", n, users, teams, events)
		}
	}
}
