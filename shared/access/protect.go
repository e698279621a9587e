// Package access says who calls and for which teams they may act: it asks Bearer
// routes for a credential, and gives the statements of a handler the teams in which
// the caller has what the route needs, and no others. How tokens are made and
// checked is left to identity, and the rows of teams to auth.
package access

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/workflow"
)

// Protect has api's Bearer routes ask for a credential: an access token, or an API
// token where the route takes those. The function must declare identity.VerifyNeed.
// Nothing but public keys is needed to check an access token, and nothing at all to
// refuse an API token whose checksum is wrong; whether a session or a token still
// lives, the statement finds that Teams is part of.
func Protect(api *httpapi.API, env *function.Env) { protect(api, env, nil) }

// ProtectReports is Protect for a function with routes that take reports, and so the
// tokens of workflows. It must declare workflow.Need too.
func ProtectReports(api *httpapi.API, env *function.Env) {
	protect(api, env, workflow.VerifierFor(env))
}

func protect(api *httpapi.API, env *function.Env, workflows *workflow.Verifier) {
	verifier := identity.VerifierFor(env)
	api.Guard = func(ctx huma.Context) (context.Context, error) {
		r, _ := humago.Unwrap(ctx)
		text, err := bearer(r.Header)
		if err != nil {
			return nil, err
		}
		caller := Caller{asks: needOf(ctx.Operation())}
		if form, whole := IsSecret(TokenPrefix, text); form {
			if !whole {
				return nil, fault.New(fault.Unauthenticated, "invalid_token", "This is no whole API token: it is "+TokenPrefix+" and 36 letters and digits, the last of which are a checksum. Copy it again.")
			}
			if caller.asks.scope == "" {
				return nil, fault.New(fault.Forbidden, "no_tokens", "This route takes no API tokens. Sign in, and send the access token.")
			}
			caller.Token = DigestOf(text)
			return WithCaller(ctx.Context(), caller), nil
		}
		if workflow.Is(text) {
			if caller.asks.scope != Report {
				return nil, errNoWorkflows
			}
			job, err := workflows.Read(ctx.Context(), text)
			caller.Workflow = &job
			return WithCaller(ctx.Context(), caller), err
		}
		known, err := verifier.Access(ctx.Context(), text)
		if err != nil {
			return nil, err
		}
		caller.User, caller.Session = known.User, known.Session
		return WithCaller(ctx.Context(), caller), nil
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
