package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// keep is what local runs keep between starts besides the database: the keys
// that sign tokens, and the demo owner's sign-in. Its file is for its owner's
// eyes alone.
type keep struct {
	Settings map[string]string `json:"settings"` // the keys, as the functions' settings
	Email    string            `json:"email"`
	Password string            `json:"password"`
}

// openKeep reads the kept file of a data folder, or makes it at the first start.
func openKeep(dir string) (*keep, error) {
	path := keepPath(dir)
	text, err := os.ReadFile(path)
	if err == nil {
		return readKeep(path, text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	k := &keep{Settings: identity.NewKeys(), Email: "owner@example.com", Password: rand.Text()}
	if text, err = json.MarshalIndent(k, "", "  "); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// Written beside and linked: the file is whole or absent, and of two first
	// starts at once the second takes the first one's keys.
	beside := path + "." + rand.Text()
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(beside) }()
	if err := os.Link(beside, path); errors.Is(err, fs.ErrExist) {
		return openKeep(dir)
	} else if err != nil {
		return nil, err
	}
	return k, nil
}

func readKeep(path string, text []byte) (*keep, error) {
	k := &keep{}
	err := json.Unmarshal(text, k)
	for name := range identity.NewKeys() {
		if err == nil && (k.Settings[name] == "" || k.Password == "") {
			err = errors.New("something is missing in it")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; begin afresh with -reset", path, err)
	}
	return k, nil
}

// dropKeep forgets what is kept, so that the next start makes it anew.
func dropKeep(dir string) error {
	if err := os.Remove(keepPath(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func keepPath(dir string) string { return filepath.Join(dir, "keys.json") }

// lookup finds a function's settings: the kept keys, the stores that were opened,
// then the environment.
func (k *keep) lookup(s *stores, fn string) function.Lookup {
	return func(name string) (string, bool) {
		switch name {
		case "DATABASE_URL":
			return s.database(fn), true
		case "DATABASE_POOL":
			return s.pool(), true
		case "TRUSTED_PROXIES":
			return "0", true
		case "REDIS_URL":
			return s.redisURL, true
		case "RELEASE":
			return release(), true
		}
		if value, ok := k.Settings[name]; ok {
			return value, true
		}
		if value, ok := os.LookupEnv(name); ok || name != "REGISTRATION" {
			return value, ok
		}
		return "open", true // on this machine alone
	}
}

// signIn returns the demo owner's team and its time zone; the first call makes
// both the owner and the team.
func (k *keep) signIn(ctx context.Context, c client, zone string) (uuid.UUID, string, error) {
	var in auth.SignedIn
	status, err := c.call(ctx, http.MethodPost, "/api/auth/login", "", map[string]string{"email": k.Email, "password": k.Password}, &in)
	if status == http.StatusUnauthorized {
		status, err = c.call(ctx, http.MethodPost, "/api/auth/register", "", map[string]string{
			"email": k.Email, "password": k.Password, "name": "Demo Owner", "team": "My team", "time_zone": zone,
		}, &in)
	}
	if status == http.StatusConflict {
		return uuid.Nil, "", fmt.Errorf("the database has an account %s of another data folder, whose password is not here; use that folder with -data DIR, or another database", k.Email)
	}
	if err != nil {
		return uuid.Nil, "", err
	}
	team, err := uuid.Parse(in.User.Teams[0].ID)
	return team, in.User.Teams[0].TimeZone, err
}
