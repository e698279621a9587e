package auth

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
)

// githubCookie holds what is between two steps of signing in with GitHub: nothing
// of it is kept here. It is bound to the browser that took the first step, so that
// nobody has another's browser take the second.
const githubCookie = "__Host-dd_github"

// githubTime is how long somebody may take for a step.
const githubTime = 10 * time.Minute

// pending is a sign-in that has been sent to GitHub.
type pending struct {
	State    string      `json:"state"`
	Verifier string      `json:"verifier"`
	Return   string      `json:"return"`
	Replaces []uuid.UUID `json:"replaces"` // sessions of this browser
	Until    time.Time   `json:"until"`
}

// proof is what GitHub has said of who holds the cookie.
type proof struct {
	github.Person
	Email string    `json:"email"` // verified; empty where nobody asked
	Until time.Time `json:"until"`
}

// The purposes keep one cookie from being taken for the other.
const (
	pendingPurpose = "github-pending"
	proofPurpose   = "github-proof"
)

// seal returns the value of Set-Cookie that holds a value, which its holder can read
// and nobody can make. GitHub sends people back from another site, where a browser
// sends along what is Lax and not what is Strict.
func (a *accounts) seal(ctx context.Context, purpose string, value any, site http.SameSite) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sealed := base64.RawURLEncoding.EncodeToString(text)
	names, err := a.signer.Pseudonyms(ctx, purpose, sealed)
	if err != nil {
		return "", err
	}
	return setGitHubCookie(sealed+"."+base64.RawURLEncoding.EncodeToString(names[0][:]), int(githubTime/time.Second), site), nil
}

func setGitHubCookie(value string, maxAge int, site http.SameSite) string {
	c := http.Cookie{Name: githubCookie, Value: value, Path: "/", MaxAge: maxAge, Secure: true, HttpOnly: true, SameSite: site}
	return c.String()
}

// clearGitHubCookie is the value of Set-Cookie that removes the cookie.
func clearGitHubCookie() string { return setGitHubCookie("", -1, http.SameSiteLaxMode) }

// unseal reads what was sealed for a purpose, and tells whether it was. It fails only
// if the keys cannot be used.
func (a *accounts) unseal(ctx context.Context, purpose string, in githubInput, into any) (bool, error) {
	if len(in.values) != 1 { // a browser keeps one __Host- cookie of a name
		return false, nil
	}
	sealed, seal, _ := strings.Cut(in.values[0], ".")
	given, err := base64.RawURLEncoding.Strict().DecodeString(seal)
	if err != nil {
		return false, nil
	}
	names, err := a.signer.Pseudonyms(ctx, purpose, sealed)
	if err != nil {
		return false, err
	}
	ours := false
	for _, name := range names {
		ours = hmac.Equal(name[:], given) || ours
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	return ours && err == nil && json.Unmarshal(text, into) == nil, nil
}

// githubInput reads the cookie. The input of a route that wants it embeds one.
type githubInput struct{ values []string }

// Resolve takes the cookie from the request.
func (in *githubInput) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	for _, c := range r.CookiesNamed(githubCookie) {
		in.values = append(in.values, c.Value)
	}
	return nil
}
