// Package jwkstest gives tests an issuer of their own that signs RS256 and publishes
// its keys, and is away or changes them as it is told to.
package jwkstest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer signs tokens, and answers with its keys whatever it is asked.
type Issuer struct {
	t testing.TB

	mu     sync.Mutex
	keys   []*rsa.PrivateKey // the first signs
	fresh  string            // Cache-Control
	answer func(http.ResponseWriter)
	asked  int
}

// one is the key that every issuer begins with: making one takes its time.
var one = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// New returns an issuer whose keys are good for two hours, of which one is over.
func New(t testing.TB) *Issuer {
	return &Issuer{t: t, keys: []*rsa.PrivateKey{one()}, fresh: "public, max-age=7200, must-revalidate, no-transform"}
}

// Sign returns a token that says these claims, with some changed; nil takes a claim
// away.
func (i *Issuer) Sign(claims jwt.MapClaims, changes map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	said := maps.Clone(claims)
	maps.Copy(said, changes)
	for name, value := range said {
		if value == nil {
			delete(said, name)
		}
	}
	return i.sign(said, nil)
}

// SignAs returns what a token says once more, with some of its header changed.
func (i *Issuer) SignAs(header map[string]any, token string) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	said := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, said); err != nil {
		i.t.Error(err)
	}
	return i.sign(said, header)
}

func (i *Issuer) sign(said jwt.MapClaims, header map[string]any) string {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, said)
	token.Header["kid"] = id(i.keys[0])
	maps.Copy(token.Header, header)
	text, err := token.SignedString(i.keys[0])
	if err != nil {
		i.t.Error(err)
	}
	return text
}

// Rotate has another key sign. Both are published.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append([]*rsa.PrivateKey{newKey()}, i.keys...)
}

// Retire publishes only the key that signs.
func (i *Issuer) Retire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[:1]
}

// Answer has the issuer answer otherwise than with its keys; nil ends that.
func (i *Issuer) Answer(otherwise func(http.ResponseWriter)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = otherwise
}

// CacheControl has it say how long its keys may be kept. Its answers are an hour old.
func (i *Issuer) CacheControl(says string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fresh = says
}

// Asked returns how often its keys were asked for.
func (i *Issuer) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// ServeHTTP answers with the keys.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.answer != nil {
		i.answer(w)
		return
	}
	w.Header().Set("Cache-Control", i.fresh)
	w.Header().Set("Age", "3600")
	_, _ = w.Write(i.set())
}

// Client returns a client that reaches the issuer whatever it asks.
func (i *Issuer) Client() *http.Client { return &http.Client{Transport: i} }

// RoundTrip answers a request for the keys, without a network.
func (i *Issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, r.Context().Err()
}

func (i *Issuer) set() []byte {
	var published []map[string]string
	for _, key := range i.keys {
		published = append(published, map[string]string{
			"kid": id(key), "kty": "RSA", "use": "sig", "alg": "RS256",
			"n": text(key.N), "e": text(big.NewInt(int64(key.E))),
		})
	}
	set, err := json.Marshal(map[string]any{"keys": published})
	if err != nil {
		i.t.Error(err)
	}
	return set
}

func text(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

// id names a key by what it is.
func id(key *rsa.PrivateKey) string { return text(key.N)[:20] }
