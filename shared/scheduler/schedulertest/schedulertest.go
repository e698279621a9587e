// Package schedulertest gives tests a Google of their own that signs identity
// tokens and publishes its keys, and is away or changes them as it is told to.
package schedulertest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/jwks/jwkstest"
)

// Google signs tokens.
type Google struct {
	*jwkstest.Issuer
	now func() time.Time
}

// New returns a Google by whose clock tokens are good for an hour.
func New(t testing.TB, now func() time.Time) *Google { return &Google{jwkstest.New(t), now} }

// Token returns what Cloud Scheduler sends for a job of an account, with some claims
// changed; nil takes a claim away.
func (g *Google) Token(account, audience string, changes map[string]any) string {
	now := g.now().Unix()
	return g.Sign(jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": audience, "azp": "104029292853099978293", "sub": "104029292853099978293",
		"email": account, "email_verified": true, "iat": now, "exp": now + 3600,
	}, changes)
}

// Client returns a client that reaches this Google under the real one's name.
func (g *Google) Client() *http.Client { return &http.Client{Transport: g} }

// RoundTrip answers a request for the keys.
func (g *Google) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != "https://www.googleapis.com/oauth2/v3/certs" {
		return nil, fmt.Errorf("%s is asked for keys", r.URL)
	}
	return g.Issuer.RoundTrip(r)
}
