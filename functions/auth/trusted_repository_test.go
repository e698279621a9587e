package auth_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devops-dashboard/dashboard/functions/auth"
)

// shop is a repository as an owner tells of it.
func shop(changes ...string) map[string]any {
	body := map[string]any{"repository_id": "9007199254740993", "repository_owner_id": "65", "name": "acme/shop"}
	for i := 0; i < len(changes); i += 2 {
		body[changes[i]] = changes[i+1]
	}
	return body
}

func TestARepositoryIsTrusted(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner, editor, other := c.person("Ada"), c.person("Grace"), c.person("Eve")
	c.joins(editor, owner, "editor")
	path := "/api/auth/teams/" + owner.team + "/trusted-repositories"
	var first, again, another auth.TrustedRepository
	c.want(c.as(owner, http.MethodPost, path, shop("environment", " Production "), &first), http.StatusCreated)
	want := auth.TrustedRepository{ID: first.ID, RepositoryID: "9007199254740993", OwnerID: "65", Name: "acme/shop", Environment: "Production", By: "Ada", CreatedAt: first.CreatedAt}
	if diff := cmp.Diff(want, first); diff != "" || first.ID == "" || first.CreatedAt.IsZero() {
		t.Error(diff)
	}
	// A repeat is the same, in the other case also, and takes on a name.
	c.want(c.as(owner, http.MethodPost, path, shop("environment", "production", "name", "acme/store"), &again), http.StatusCreated)
	if want.Name = "acme/store"; cmp.Diff(want, again) != "" {
		t.Error(cmp.Diff(want, again))
	}
	c.want(c.as(owner, http.MethodPost, path, shop(), &another), http.StatusCreated)
	c.want(c.as(owner, http.MethodPost, path, shop("repository_owner_id", "66", "name", "Acme/till"), nil), http.StatusCreated)
	var list auth.TrustedRepositories
	c.want(c.as(owner, http.MethodGet, path, nil, &list), http.StatusOK)
	if len(list.Repositories) != 3 || cmp.Diff(list.Repositories[:2], []auth.TrustedRepository{another, again}) != "" {
		t.Errorf("listed %+v", list)
	}
	for _, p := range []person{editor, other} {
		status := map[string]int{editor.id: http.StatusForbidden, other.id: http.StatusNotFound}[p.id]
		c.want(c.as(p, http.MethodGet, path, nil, nil), status)
		c.want(c.as(p, http.MethodPost, path, shop(), nil), status)
		c.want(c.as(p, http.MethodDelete, path+"/"+first.ID, nil, nil), status)
	}
	// Whoever knows an id of another team's ends nothing with it.
	c.want(c.as(other, http.MethodDelete, "/api/auth/teams/"+other.team+"/trusted-repositories/"+first.ID, nil, nil), http.StatusNoContent)
	for range 2 {
		c.want(c.as(owner, http.MethodDelete, path+"/"+another.ID, nil, nil), http.StatusNoContent)
	}
	c.want(c.as(owner, http.MethodGet, path, nil, &list), http.StatusOK)
	if len(list.Repositories) != 2 || list.Repositories[0].ID != first.ID {
		t.Errorf("left are %+v", list)
	}
	var events auth.Events
	c.want(c.as(owner, http.MethodGet, "/api/auth/teams/"+owner.team+"/audit?limit=4", nil, &events), http.StatusOK)
	var kinds []string
	for _, e := range events.Events {
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]string{"repository_distrusted", "repository_trusted", "repository_trusted", "repository_trusted"}, kinds); diff != "" || !strings.Contains(string(events.Events[3].Detail), `"environment":"Production"`) {
		t.Errorf("%s %s", diff, events.Events[3].Detail)
	}
}

func TestRepositoriesThatAreNone(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	path := "/api/auth/teams/" + owner.team + "/trusted-repositories"
	for location, change := range map[string][]string{
		"body.repository_id":       {"repository_id", "acme/shop"},
		"body.repository_owner_id": {"repository_owner_id", "0"},
		"body.name":                {"name", " "},
		"body.environment":         {"environment", "a\nb"},
	} {
		got := c.as(owner, http.MethodPost, path, shop(change...), nil)
		c.want(got, http.StatusUnprocessableEntity)
		if len(got.Body.Errors) != 1 || got.Body.Errors[0].Location != location {
			t.Errorf("%s: %s", location, got.Raw)
		}
	}
	// All that is wrong is said at once.
	got := c.as(owner, http.MethodPost, path, shop("repository_id", "9999999999999999999", "repository_owner_id", "9223372036854775808", "name", "\t"), nil)
	if len(got.Body.Errors) != 3 {
		t.Errorf("%s", got.Raw)
	}
}

func TestATeamTrustsAtMost200(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	path := "/api/auth/teams/" + owner.team + "/trusted-repositories"
	c.exec(t, "INSERT INTO trusted_repositories (team_id, repository_id, repository_owner_id, name) SELECT $1, n, 65, 'x' FROM generate_series(1, 199) n", owner.team)
	c.want(c.as(owner, http.MethodPost, path, shop(), nil), http.StatusCreated)
	c.want(c.as(owner, http.MethodPost, path, shop("name", "acme/store"), nil), http.StatusCreated) // which is there
	got := c.as(owner, http.MethodPost, path, shop("environment", "production"), nil)
	c.want(got, http.StatusConflict, "too_many")
	if !strings.Contains(got.Raw, "at most 200") {
		t.Error(got.Raw)
	}
}

// Those who say the same at once get the same.
func TestARepositoryIsTrustedTwiceAtOnce(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	owner := c.person("Ada")
	answers := make([]auth.TrustedRepository, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			c.want(c.as(owner, http.MethodPost, "/api/auth/teams/"+owner.team+"/trusted-repositories", shop(), &answers[i]), http.StatusCreated)
		})
	}
	all.Wait()
	for _, a := range answers {
		if diff := cmp.Diff(answers[0], a, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
	if n := c.count(t, "trusted_repositories"); n != 1 {
		t.Errorf("%d are trusted", n)
	}
}
