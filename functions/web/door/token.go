package door

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/sync/singleflight"
)

const (
	// early is how long before its end a token is renewed, while it still serves.
	early = 5 * time.Minute
	// pause is between two tries to renew a token that still serves. The metadata
	// server keeps tokens itself, and may give out the same one again.
	pause = 10 * time.Second
	// margin is what a token must still be good for: its way, and clocks that differ.
	margin = 30 * time.Second
	// patience is how long the metadata server may take.
	patience = 2 * time.Second
)

// tokens keeps the identity tokens by which Cloud Run lets us call other
// functions, one for each audience.
type tokens struct {
	now   func() time.Time
	fetch func(ctx context.Context, audience string) (string, error)

	flights singleflight.Group
	mu      sync.Mutex
	held    map[string]held
}

// held is a token that was got. The zero one has expired.
type held struct {
	token   string
	expires time.Time
	renewal time.Time // not before
}

func newTokens(now func() time.Time, fetch func(ctx context.Context, audience string) (string, error)) *tokens {
	return &tokens{now: now, fetch: fetch, held: map[string]held{}}
}

// get returns a token for an audience. It waits only where there is none that
// serves; a failure then is the caller's, and the next one tries anew.
func (t *tokens) get(ctx context.Context, audience string) (string, error) {
	h, serves, due := t.look(audience)
	if serves && !due {
		return h.token, nil
	}
	for again := true; ; again = false {
		flight := t.flights.DoChan(audience, func() (any, error) { return t.renew(audience) })
		if serves {
			return h.token, nil
		}
		select {
		case result := <-flight:
			// One that was under way may have stood still with the instance, past its time.
			if result.Err != nil && result.Shared && again {
				continue
			}
			token, _ := result.Val.(string)
			return token, result.Err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (t *tokens) look(audience string) (h held, serves, due bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, now := t.held[audience], t.now()
	return h, now.Before(h.expires.Add(-margin)), !now.Before(h.renewal)
}

// renew gets a token, for all who wait for it: whichever of them leaves, it goes
// on.
func (t *tokens) renew(audience string) (string, error) {
	h, serves, due := t.look(audience)
	if serves && !due { // got since the caller looked
		return h.token, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, err := t.fetch(ctx, audience)
	expires := time.Time{}
	if err == nil {
		expires, err = expiryOf(token)
	}
	now := t.now()
	if err == nil && !now.Before(expires.Add(-margin)) {
		err = fmt.Errorf("a token that expires at %s", expires.UTC().Format(time.RFC3339))
	}
	h.renewal = now.Add(pause)
	if err == nil {
		h.token, h.expires = token, expires
		if due := expires.Add(-early); due.After(h.renewal) {
			h.renewal = due
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held[audience] = h
	if err != nil {
		return "", fmt.Errorf("the metadata server gave no identity token for %s: %w", audience, err)
	}
	return token, nil
}

// fromMetadata asks the metadata server of the machine, or that which
// GCE_METADATA_HOST names. A nil client is the library's own.
func fromMetadata(client *http.Client) func(context.Context, string) (string, error) {
	server := metadata.NewClient(client)
	return func(ctx context.Context, audience string) (string, error) {
		return server.GetWithContext(ctx, "instance/service-accounts/default/identity?audience="+url.QueryEscape(audience))
	}
}

// expiryOf reads when a token expires. Whoever gets the token checks it.
func expiryOf(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("what is no token")
	}
	var claims struct{ Exp int64 }
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil || claims.Exp <= 0 {
		return time.Time{}, errors.New("a token that does not say when it expires")
	}
	return time.Unix(claims.Exp, 0), nil
}
