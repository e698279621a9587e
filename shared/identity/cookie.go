package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// CookieInput reads our cookies. The input of a route that wants them embeds one;
// huma fills it in.
type CookieInput struct{ values, devices []string }

// Resolve takes the cookie from the request.
func (in *CookieInput) Resolve(ctx huma.Context) []error {
	r, _ := humago.Unwrap(ctx)
	for _, c := range r.CookiesNamed(httpapi.RefreshCookie) {
		in.values = append(in.values, c.Value)
	}
	for _, c := range r.CookiesNamed(DeviceCookie) {
		in.devices = append(in.devices, c.Value)
	}
	return nil
}

// Token returns the refresh token as it was sent, unproved. Its faults are
// "no_session" and, for more than one, "invalid_session": a browser keeps one
// __Host- cookie of a name, so the others come from elsewhere.
func (in *CookieInput) Token() (string, error) {
	switch len(in.values) {
	case 0:
		return "", fault.New(fault.Unauthenticated, "no_session", "The request has no session cookie. Sign in.")
	case 1:
		return in.values[0], nil
	}
	return "", fault.New(fault.Unauthenticated, "invalid_session", "The request has several session cookies. Send one, or sign in again.")
}

// Sessions returns the sessions of all the cookies that hold a token of ours,
// current or not: what a sign-in replaces and a sign-out ends. It fails only if
// the keys cannot be used.
func (in *CookieInput) Sessions(ctx context.Context, signer *Signer) ([]uuid.UUID, error) {
	var sessions []uuid.UUID
	for _, value := range in.values {
		token, err := signer.ReadRefresh(ctx, value)
		switch {
		case err == nil:
			sessions = append(sessions, token.Session)
		case fault.From(err).Kind != fault.Unauthenticated:
			return nil, err
		}
	}
	return sessions, nil
}

func setCookie(token string, keep time.Duration) string {
	return refreshCookie(token, int(keep/time.Second))
}

// ClearCookie is the value of Set-Cookie that removes the refresh cookie. Only
// signing out sends it: a slow refusal must not take away the cookie that
// another tab has got in the meantime.
func ClearCookie() string { return refreshCookie("", -1) }

// refreshCookie's maxAge is in seconds; below 0 it removes the cookie.
func refreshCookie(value string, maxAge int) string {
	c := http.Cookie{
		Name: httpapi.RefreshCookie, Value: value, Path: "/", MaxAge: maxAge,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	return c.String()
}
