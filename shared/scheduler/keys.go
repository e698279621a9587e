package scheduler

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

const (
	// keysURL is where Google's public keys are, as JWKs:
	// https://accounts.google.com/.well-known/openid-configuration
	keysURL = "https://www.googleapis.com/oauth2/v3/certs"
	// patience is how long Google may take to say them.
	patience = 2 * time.Second
	// pause is between two questions for them, whatever comes: what names a key that
	// is not known may come from anybody.
	pause = 10 * time.Second
	// longest is how long they are used without asking again, whatever Google says.
	longest = 24 * time.Hour
	// mostBytes is the most that is read of them; there are some two kilobytes.
	mostBytes = 1 << 20
	// leastBits is the shortest key that is one.
	leastBits = 2048
)

// keys are the public keys of Google, asked for when one is first needed and kept
// for as long as Google says. When it is away, those that have had their time are
// not used on: a call that cannot be checked is one to try again.
type keys struct {
	client *http.Client
	now    func() time.Time

	mu     sync.Mutex // held while Google is asked, so that one asks for all
	held   map[string]*rsa.PublicKey
	until  time.Time // held may be used
	tried  time.Time
	failed error // the last question did
}

// Through has the process ask for Google's keys through a client. It must come
// before the first Protect.
func Through(env *function.Env, client *http.Client) {
	function.Once(env, "Google's keys", func() *keys { return &keys{client: client, now: env.Now} })
}

func keysOf(env *function.Env) *keys {
	return function.Once(env, "Google's keys", func() *keys { return &keys{client: http.DefaultClient, now: env.Now} })
}

// named returns the key of a name. That there is none is an error about the token;
// that Google does not say is an Unavailable fault.
func (k *keys) named(ctx context.Context, id string) (*rsa.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if key := k.held[id]; key != nil && now.Before(k.until) {
		return key, nil
	}
	if k.tried.IsZero() || now.Sub(k.tried) >= pause {
		k.tried = now
		k.failed = k.ask(ctx)
	}
	key := k.held[id]
	switch {
	case k.failed != nil:
		return nil, fault.Away("Google's keys", k.failed)
	case key == nil:
		return nil, errors.New("it is signed with a key that is not one of Google's")
	}
	return key, nil
}

// ask gets the keys. It asks on for a caller who goes away: the next one would have
// to wait for the pause.
func (k *keys) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, keysURL, nil)
	if err != nil {
		return err
	}
	answer, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", keysURL, answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostBytes))
	if err != nil {
		return err
	}
	held, err := parseKeys(text)
	if err != nil {
		return err
	}
	k.held, k.until = held, k.tried.Add(min(max(freshFor(answer.Header), pause), longest))
	return nil
}

// parseKeys reads a JWK set (RFC 7517): of its keys those that check RS256.
func parseKeys(text []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct{ Kid, Kty, Use, Alg, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("what Google says are no keys: %w", err)
	}
	held := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, nErr := base64.RawURLEncoding.DecodeString(k.N)
		e, eErr := base64.RawURLEncoding.DecodeString(k.E)
		if k.Kid == "" || k.Kty != "RSA" || k.Use != "sig" || k.Alg != "RS256" || nErr != nil || eErr != nil {
			continue
		}
		modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
		if modulus.BitLen() < leastBits || exponent.BitLen() > 31 || exponent.Cmp(big.NewInt(2)) <= 0 {
			continue
		}
		held[k.Kid] = &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	}
	if len(held) == 0 {
		return nil, errors.New("none of the keys that Google says checks RS256")
	}
	return held, nil
}

// freshFor is how long an answer may be used (RFC 9111, sections 4.2.1 and 5.1).
func freshFor(h http.Header) time.Duration {
	age, _ := strconv.ParseInt(h.Get("Age"), 10, 32)
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if seconds, found := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); found {
			most, _ := strconv.ParseInt(seconds, 10, 32)
			return time.Duration(most-age) * time.Second
		}
	}
	return 0
}
