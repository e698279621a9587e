// Package identitytest gives tests keys and tokens of their own.
package identitytest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// Settings returns fresh keys under the names of the settings that hold them. Anybody
// may register with them.
func Settings(t testing.TB) map[string]string {
	t.Helper()
	settings := identity.NewKeys()
	settings["REGISTRATION"] = "open"
	return settings
}

// Signer returns a signer with the keys in settings.
func Signer(t testing.TB, settings map[string]string) *identity.Signer {
	t.Helper()
	return identity.SignerFor(env(settings, time.Now()))
}

// Verifier returns a verifier with the keys in settings, to which it is now.
func Verifier(t testing.TB, settings map[string]string, now time.Time) *identity.Verifier {
	t.Helper()
	return identity.VerifierFor(env(settings, now))
}

func env(settings map[string]string, now time.Time) *function.Env {
	lookup := func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}
	fn := function.Function{Name: "identitytest", Needs: []function.Need{identity.VerifyNeed, identity.SignNeed}}
	return function.NewEnv(slog.New(slog.DiscardHandler), func() time.Time { return now }, lookup).For(fn)
}

// Bearer returns the value of an Authorization header ("Bearer " and a token) for
// the user and session, made at now with the keys in settings.
func Bearer(t testing.TB, settings map[string]string, user, session uuid.UUID, now time.Time) string {
	t.Helper()
	token, err := Signer(t, settings).Access(context.Background(), identity.Access{
		ID: uuid.New(), User: user, Session: session, IssuedAt: now, ExpiresAt: now.Add(identity.AccessLifetime),
	})
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}
