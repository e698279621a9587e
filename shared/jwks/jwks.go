// Package jwks keeps the public keys that somebody else publishes as a JWK set
// (RFC 7517), for checking RS256: they are asked for when one is first needed, and
// kept for as long as their issuer says. What is signed with them, and what that is
// worth, is left to those who check it.
package jwks

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

const (
	// patience is how long an issuer may take to say its keys.
	patience = 2 * time.Second
	// pause is between two questions for them, whatever comes: what names a key that
	// is not known may come from anybody.
	pause = 10 * time.Second
	// longest is how long they are used without asking again, whatever the issuer says.
	longest = 24 * time.Hour
	// mostBytes is the most that is read of them; there are some kilobytes.
	mostBytes = 1 << 20
)

// ErrUnknown is that no key of the issuer's has a name.
var ErrUnknown = errors.New("it is signed with a key that is not one of the issuer's")

// Source is where an issuer publishes its keys.
type Source struct {
	Name string // for people: "Google's keys"
	URL  string
	// Stale is how long keys that have had their time are used on while the issuer
	// cannot be asked. A key that was withdrawn in that time is taken for good, so it
	// is zero where a call that cannot be checked comes again by itself.
	Stale time.Duration
}

// Keys are an issuer's.
type Keys struct {
	source Source
	client *http.Client
	now    func() time.Time
	asking singleflight.Group

	mu     sync.Mutex
	held   map[string]*rsa.PublicKey
	until  time.Time // held may be used
	tried  time.Time
	asked  bool  // a question is on its way
	failed error // the last one that was answered did
}

// Through has the process ask all issuers through a client. It must come before the
// first For.
func Through(env *function.Env, client *http.Client) {
	function.Once(env, "the client for JWK sets", func() *http.Client { return client })
}

// For returns the process's keys of a source.
func For(env *function.Env, s Source) *Keys {
	client := function.Once(env, "the client for JWK sets", func() *http.Client { return http.DefaultClient })
	return function.Once(env, "the JWK set at "+s.URL, func() *Keys { return New(client, env.Now, s) })
}

// New returns keys that are asked for through a client. Redirects are not followed:
// who signs is decided by who answers at the source.
func New(client *http.Client, now func() time.Time, s Source) *Keys {
	direct := *client
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Keys{source: s, client: &direct, now: now}
}

// Named returns the key of a name. That there is none is ErrUnknown; that it cannot
// be told, since the issuer does not say, is an Unavailable fault. Nobody whose key
// is known waits for a question that another one's has caused.
func (k *Keys) Named(ctx context.Context, id string) (*rsa.PublicKey, error) {
	key, due, err := k.look(id)
	if !due {
		return key, err
	}
	select {
	case <-k.asking.DoChan("", k.ask):
	case <-ctx.Done():
		return nil, fault.Away(k.source.Name, context.Cause(ctx))
	}
	key, _, err = k.look(id)
	return key, err
}

// look finds a key among those held, and tells whether it is time to ask for them.
func (k *Keys) look(id string) (key *rsa.PublicKey, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	key = k.held[id]
	switch {
	case key != nil && now.Before(k.until):
		return key, false, nil
	case k.failed == nil:
		return nil, k.asked || k.due(now), ErrUnknown // what is on its way may name it
	case key != nil && now.Before(k.until.Add(k.source.Stale)):
		return key, k.due(now), nil
	}
	return nil, k.asked || k.due(now), fault.Away(k.source.Name, k.failed)
}

func (k *Keys) due(now time.Time) bool { return k.tried.IsZero() || now.Sub(k.tried) >= pause }

// ask gets the keys, once for all who wait. It asks on for those who go away: the
// next one would have to wait for the pause.
func (k *Keys) ask() (any, error) {
	k.mu.Lock()
	now := k.now()
	due := k.due(now)
	if due {
		k.tried, k.asked = now, true
	}
	k.mu.Unlock()
	if !due {
		return nil, nil // somebody has asked while this one came
	}
	held, fresh, err := k.fetch()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = false
	if k.failed = err; err == nil {
		k.held, k.until = held, now.Add(min(max(fresh, pause), longest))
	}
	return nil, nil
}

// fetch reads the set and how long it may be used.
func (k *Keys) fetch() (map[string]*rsa.PublicKey, time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.source.URL, nil)
	if err != nil {
		return nil, 0, err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers %s", k.source.URL, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostBytes+1))
	if err == nil && len(text) > mostBytes {
		err = fmt.Errorf("%s answers more than %d bytes", k.source.URL, mostBytes)
	}
	if err != nil {
		return nil, 0, err
	}
	held, err := parse(text)
	return held, freshFor(answer.Header), err
}
