package identity_test

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

// referring is a process whose keys are references.
type referring struct {
	manager  *secretstest.Manager
	verifier *identity.Verifier
	signer   *identity.Signer

	mu  sync.Mutex
	now time.Time
}

func newReferring(t *testing.T, keys map[string]string) *referring {
	t.Helper()
	p := &referring{manager: secretstest.New(t), now: noon}
	settings := map[string]string{}
	for name, text := range keys {
		settings[name] = p.manager.Put(name, text)
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), p.clock, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}).For(function.Function{Name: "referring", Needs: []function.Need{identity.VerifyNeed, identity.SignNeed}})
	p.manager.Serve(env)
	p.verifier, p.signer = identity.VerifierFor(env), identity.SignerFor(env)
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return p
}

func (p *referring) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *referring) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// check says whether the process accepts an access token.
func (p *referring) check(t *testing.T, token string) (code string) {
	t.Helper()
	if _, err := p.verifier.Access(t.Context(), token); err != nil {
		return fault.From(err).Code
	}
	return "accepted"
}

func access(t *testing.T, settings map[string]string, at time.Time) string {
	t.Helper()
	return strings.TrimPrefix(identitytest.Bearer(t, settings, uuid.New(), uuid.New(), at), "Bearer ")
}

// published, signing, retired: no token is refused that should not be, at no
// moment, and nothing restarts.
func TestAccessKeysAreRotatedWithoutARestart(t *testing.T) {
	t.Parallel()
	old, fresh := identitytest.Settings(t), identitytest.Settings(t)
	p := newReferring(t, old)
	step := func(want string, settings map[string]string) {
		t.Helper()
		if got := p.check(t, access(t, settings, p.clock())); got != want {
			t.Errorf("at %s: %s, want %s", p.clock().Format(time.TimeOnly), got, want)
		}
	}
	signs := func(settings map[string]string) {
		t.Helper()
		token, err := p.signer.Access(t.Context(), identity.Access{ID: uuid.New(), User: uuid.New(), Session: uuid.New(), IssuedAt: p.clock(), ExpiresAt: p.clock().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := identitytest.Verifier(t, settings, p.clock()).Access(t.Context(), token); err != nil {
			t.Errorf("at %s, another key signs: %v", p.clock().Format(time.TimeOnly), err)
		}
	}
	step("accepted", old)
	step("invalid_token", fresh)
	signs(old)

	p.manager.Put("ACCESS_PUBLIC_KEYS", join(old["ACCESS_PUBLIC_KEYS"], fresh["ACCESS_PUBLIC_KEYS"]))
	p.pass(time.Minute)
	step("accepted", old)
	step("accepted", fresh)
	signs(old)

	p.manager.Put("ACCESS_SIGNING_KEYS", join(fresh["ACCESS_SIGNING_KEYS"], old["ACCESS_SIGNING_KEYS"]))
	p.pass(time.Minute)
	signs(fresh)
	step("accepted", old)

	last := access(t, old, p.clock())
	p.manager.Put("ACCESS_PUBLIC_KEYS", fresh["ACCESS_PUBLIC_KEYS"])
	p.manager.Put("ACCESS_SIGNING_KEYS", fresh["ACCESS_SIGNING_KEYS"])
	p.pass(time.Minute)
	step("accepted", fresh)
	signs(fresh)
	if got := p.check(t, last); got != "invalid_token" {
		t.Errorf("a token of the removed key: %s", got)
	}
}

func TestRefreshKeysAreRotatedWithoutARestart(t *testing.T) {
	t.Parallel()
	old, fresh := identitytest.Settings(t), identitytest.Settings(t)
	p := newReferring(t, old)
	row := identity.Refresh{ID: uuid.New(), User: uuid.New(), Session: uuid.New(), IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)}
	makes := func() string {
		t.Helper()
		token, err := p.signer.Refresh(t.Context(), row)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	reads := func(token, want string) {
		t.Helper()
		got := "accepted"
		if _, err := p.signer.ReadRefresh(t.Context(), token); err != nil {
			got = fault.From(err).Code
		}
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	first := makes()
	p.manager.Put("REFRESH_KEYS", join(fresh["REFRESH_KEYS"], old["REFRESH_KEYS"]))
	p.pass(time.Minute)
	second := makes()
	if first == second {
		t.Error("the first key does not sign")
	}
	reads(first, "accepted")
	reads(second, "accepted")
	p.manager.Put("REFRESH_KEYS", fresh["REFRESH_KEYS"])
	p.pass(time.Minute)
	reads(first, "invalid_session")
	reads(second, "accepted")
}

// In an emergency a key signs at once: who meets it looks again, ten seconds
// after the last look at the earliest.
func TestAKeyThatNobodyKnewIsLookedFor(t *testing.T) {
	t.Parallel()
	old, fresh := identitytest.Settings(t), identitytest.Settings(t)
	p := newReferring(t, old)
	if got := p.check(t, access(t, old, noon)); got != "accepted" {
		t.Fatal(got)
	}
	p.manager.Put("ACCESS_PUBLIC_KEYS", join(old["ACCESS_PUBLIC_KEYS"], fresh["ACCESS_PUBLIC_KEYS"]))
	p.pass(9 * time.Second)
	if got := p.check(t, access(t, fresh, noon)); got != "invalid_token" || p.manager.Reads() != 1 {
		t.Errorf("after 9 s: %s, %d reads", got, p.manager.Reads())
	}
	p.pass(time.Second)
	if got := p.check(t, access(t, fresh, noon)); got != "accepted" || p.manager.Reads() != 2 {
		t.Errorf("after 10 s: %s, %d reads", got, p.manager.Reads())
	}
	// And so does the function that signs with a key of which it read the private
	// half a while after the public set.
	later := newReferring(t, map[string]string{"ACCESS_PUBLIC_KEYS": old["ACCESS_PUBLIC_KEYS"], "ACCESS_SIGNING_KEYS": fresh["ACCESS_SIGNING_KEYS"], "REFRESH_KEYS": old["REFRESH_KEYS"]})
	token := identity.Access{ID: uuid.New(), User: uuid.New(), Session: uuid.New(), IssuedAt: noon, ExpiresAt: noon.Add(time.Minute)}
	if _, err := later.signer.Access(t.Context(), token); fault.From(err).Code != "keys_unusable" || !strings.Contains(err.Error(), "publish a key everywhere before it signs") {
		t.Errorf("an unpublished key: %v", err)
	}
	later.manager.Put("ACCESS_PUBLIC_KEYS", fresh["ACCESS_PUBLIC_KEYS"])
	later.pass(10 * time.Second)
	if _, err := later.signer.Access(t.Context(), token); err != nil {
		t.Error(err)
	}
}

// Ids of keys come from anybody. However many there are, Secret Manager is read
// six times a minute at most, and what is no token of ours is not looked up.
func TestAStormOfUnknownKeysIsNoFlood(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	p := newReferring(t, f.settings)
	for range 200 {
		if got := p.check(t, "a.b.c"); got != "invalid_token" {
			t.Fatal(got)
		}
	}
	if got := p.manager.Reads(); got != 0 {
		t.Errorf("%d reads for junk", got)
	}
	for range 60 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 10 {
					if got := p.check(t, f.eddsa(f.header("kid", uuid.NewString()[:16]), accessClaims())); got != "invalid_token" {
						t.Error(got)
					}
				}
			})
		}
		all.Wait()
		p.pass(time.Second)
	}
	if got := p.manager.Reads(); got != 6 {
		t.Errorf("%d reads for 2400 unknown keys in a minute", got)
	}
}

// The values that are read stand in for settings: what a start would refuse, the
// first use does.
func TestReferencesAreCheckedAtFirstUse(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	keys := maps.Clone(f.settings)
	keys["ACCESS_PUBLIC_KEYS"] = f.settings["ACCESS_SIGNING_KEYS"]
	p := newReferring(t, keys)
	token := f.eddsa(f.header(), accessClaims())
	if got := p.check(t, token); got != "keys_unusable" {
		t.Errorf("%s with a private key among the public", got)
	}
	// It is not read again for each who asks, and mended within the minute.
	p.manager.Put("ACCESS_PUBLIC_KEYS", f.settings["ACCESS_PUBLIC_KEYS"])
	if got := p.check(t, token); got != "keys_unusable" || p.manager.Reads() != 1 {
		t.Errorf("%s after %d reads", got, p.manager.Reads())
	}
	p.pass(time.Minute)
	if got := p.check(t, token); got != "accepted" {
		t.Error(got)
	}
	// A set that turns bad between two looks at it is as unusable.
	p.manager.Put("ACCESS_PUBLIC_KEYS", "{}")
	p.pass(10 * time.Second)
	if got := p.check(t, f.eddsa(f.header("kid", "AAAAAAAAAAAAAAAA"), accessClaims())); got != "keys_unusable" {
		t.Error(got)
	}
}
