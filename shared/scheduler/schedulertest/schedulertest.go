// Package schedulertest gives tests a Google of their own that signs identity
// tokens and publishes its keys, and is away or changes them as it is told to.
package schedulertest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Google signs tokens.
type Google struct {
	t   testing.TB
	now func() time.Time

	mu     sync.Mutex
	keys   []*rsa.PrivateKey // the first signs
	fresh  string            // Cache-Control
	answer func(http.ResponseWriter)
	asked  int
}

// one is the key that every Google begins with: making one takes its time.
var one = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// New returns a Google by whose clock tokens are good for an hour.
func New(t testing.TB, now func() time.Time) *Google {
	return &Google{t: t, now: now, keys: []*rsa.PrivateKey{one()}, fresh: "public, max-age=7200, must-revalidate, no-transform"}
}

// Token returns what Cloud Scheduler sends for a job of an account, with some claims
// changed; nil takes a claim away.
func (g *Google) Token(account, audience string, changes map[string]any) string {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now().Unix()
	said := jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": audience, "azp": "104029292853099978293", "sub": "104029292853099978293",
		"email": account, "email_verified": true, "iat": now, "exp": now + 3600,
	}
	maps.Copy(said, changes)
	for name, value := range said {
		if value == nil {
			delete(said, name)
		}
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, said)
	token.Header["kid"] = id(g.keys[0])
	text, err := token.SignedString(g.keys[0])
	if err != nil {
		g.t.Error(err)
	}
	return text
}

// Rotate has another key sign. Both are published.
func (g *Google) Rotate() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = append([]*rsa.PrivateKey{newKey()}, g.keys...)
}

// Retire publishes only the key that signs.
func (g *Google) Retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys = g.keys[:1]
}

// Answer has Google answer otherwise than with its keys; nil ends that.
func (g *Google) Answer(otherwise func(http.ResponseWriter)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = otherwise
}

// CacheControl has it say how long its keys may be kept. Its answers are an hour old.
func (g *Google) CacheControl(says string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fresh = says
}

// Asked returns how often its keys were asked for.
func (g *Google) Asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked
}

// Client returns a client that reaches this Google under the real one's name.
func (g *Google) Client() *http.Client { return &http.Client{Transport: g} }

// RoundTrip answers a request for the keys.
func (g *Google) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != "https://www.googleapis.com/oauth2/v3/certs" {
		return nil, fmt.Errorf("%s is asked for keys", r.URL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	w := httptest.NewRecorder()
	if g.answer != nil {
		g.answer(w)
	} else {
		g.publish(w)
	}
	answer := w.Result()
	answer.Request = r
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer, nil
}

func (g *Google) publish(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", g.fresh)
	w.Header().Set("Age", "3600")
	_, _ = w.Write(g.set())
}

func (g *Google) set() []byte {
	var published []map[string]string
	for _, key := range g.keys {
		published = append(published, map[string]string{
			"kid": id(key), "kty": "RSA", "use": "sig", "alg": "RS256",
			"n": text(key.N), "e": text(big.NewInt(int64(key.E))),
		})
	}
	set, err := json.Marshal(map[string]any{"keys": published})
	if err != nil {
		g.t.Error(err)
	}
	return set
}

func text(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

// id names a key by what it is.
func id(key *rsa.PrivateKey) string { return text(key.N)[:20] }
