package identity

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// Protect has api's Bearer routes ask for an access token. The function must
// declare VerifyNeed. Nothing but public keys is needed to check one.
func Protect(api *httpapi.API, env *function.Env) {
	verifier := VerifierFor(env)
	api.Guard = func(ctx huma.Context) (context.Context, error) {
		r, _ := humago.Unwrap(ctx)
		token, err := bearer(r.Header)
		if err != nil {
			return nil, err
		}
		access, err := verifier.Access(ctx.Context(), token)
		if err != nil {
			return nil, err
		}
		return WithCaller(ctx.Context(), Caller{User: access.User, Session: access.Session}), nil
	}
}

// bearer returns the token in the Authorization header (RFC 6750, section 2.1).
func bearer(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) > 1 {
		return "", fault.New(fault.Unauthenticated, "invalid_token", "The request has several Authorization headers. Send one.")
	}
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimLeft(token, " "), nil
		}
	}
	return "", fault.New(fault.Unauthenticated, "no_token", "This route wants an access token: sign in at POST /api/auth/login and send Authorization: Bearer followed by the token.")
}
