// Package scheduler holds a function's schedules to Cloud Scheduler: a call has to
// bring Google's identity token of the account that makes it. What a call does, and
// what the same call does a second time, is left to the function.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/jwks"
)

// Need declares that a function has schedules.
var Need = function.Need{Name: "scheduler", Settings: []function.Setting{
	{Name: "SCHEDULER_ACCOUNTS", Optional: true, Doc: "which account calls which schedule: /api/rollup/prune=cron-rollup-prune@PROJECT.iam.gserviceaccount.com, separated by commas; unset, whoever reaches the function may call"},
	{Name: "SCHEDULER_AUDIENCE", Optional: true, Doc: "with SCHEDULER_ACCOUNTS: the audience of the scheduler's tokens, which is the address of the service"},
	{Name: "SCHEDULER_SIGNATURE", Default: "checked", Doc: "checked; or removed, where Cloud Run has checked the token and takes its signature away"},
}, Check: check}

// issuer is who signs identity tokens, and removed what Cloud Run puts in place of
// the signature of one that it has checked:
// https://docs.cloud.google.com/run/docs/authenticating/service-to-service
const (
	issuer  = "https://accounts.google.com"
	removed = "SIGNATURE_REMOVED_BY_GOOGLE"
)

// googles are Google's public keys:
// https://accounts.google.com/.well-known/openid-configuration
// When it is away, those that have had their time are not used on: a call that
// cannot be checked is one to try again, and the scheduler does.
var googles = jwks.Source{Name: "Google's keys", URL: "https://www.googleapis.com/oauth2/v3/certs"}

// checkedInstead is the header whose token Cloud Run checks where there is one, and
// then leaves Authorization as the caller wrote it.
const checkedInstead = "X-Serverless-Authorization"

// skew is how far Google's clock may be from ours.
const skew = 30 * time.Second

func check(setting func(string) string) (errs []error) {
	if _, err := parseAccounts(setting("SCHEDULER_ACCOUNTS")); err != nil {
		errs = append(errs, err)
	}
	if (setting("SCHEDULER_ACCOUNTS") == "") != (setting("SCHEDULER_AUDIENCE") == "") {
		errs = append(errs, errors.New("set both SCHEDULER_ACCOUNTS and SCHEDULER_AUDIENCE, or neither"))
	}
	if s := setting("SCHEDULER_SIGNATURE"); s != "checked" && s != "removed" {
		errs = append(errs, fmt.Errorf("SCHEDULER_SIGNATURE must be checked or removed, not %q", s))
	}
	return errs
}

// parseAccounts reads which accounts call which path.
func parseAccounts(text string) (map[string][]string, error) {
	accounts := map[string][]string{}
	for pair := range strings.SplitSeq(text, ",") {
		path, account, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch {
		case text == "":
		case !strings.HasPrefix(path, "/") || !strings.Contains(account, "@"):
			return nil, fmt.Errorf("SCHEDULER_ACCOUNTS must be PATH=ACCOUNT, separated by commas; %q is not", pair)
		default:
			accounts[path] = append(accounts[path], account)
		}
	}
	return accounts, nil
}

// guard knows who may call.
type guard struct {
	accounts map[string][]string // by path
	audience string
	removed  bool // Cloud Run stands before the function
	now      func() time.Time
	keys     *jwks.Keys
}

// Protect has api's Scheduler routes ask for the token of an account that calls
// them. The function must declare Need.
func Protect(api *httpapi.API, env *function.Env) {
	accounts, _ := parseAccounts(env.Setting("SCHEDULER_ACCOUNTS")) // what is wrong with it, check has said
	g := guard{accounts, env.Setting("SCHEDULER_AUDIENCE"), env.Setting("SCHEDULER_SIGNATURE") == "removed", env.Now, jwks.For(env, googles)}
	api.GuardScheduler = func(ctx huma.Context) error {
		if len(g.accounts) == 0 {
			return nil
		}
		r, _ := humago.Unwrap(ctx)
		err := g.admit(ctx.Context(), ctx.Operation().Path, r.Header)
		if err != nil && fault.From(err).Kind != fault.Unavailable {
			// The line of the request has no cause where the caller is at fault; this one's is an operator.
			env.Log.WarnContext(ctx.Context(), "a call of a schedule was refused", "path", ctx.Operation().Path, "error", err.Error())
		}
		return err
	}
}

// claims are what a token says that is asked here.
type claims struct {
	jwt.RegisteredClaims
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
}

func (g guard) admit(ctx context.Context, path string, h http.Header) error {
	values := h.Values("Authorization")
	if len(values) != 1 || len(values[0]) < len("Bearer ") || !strings.EqualFold(values[0][:len("Bearer ")], "Bearer ") {
		return fault.New(fault.Unauthenticated, "no_token", "This route is called by Cloud Scheduler, which sends Authorization: Bearer followed by an identity token: once.")
	}
	if g.removed && h.Get(checkedInstead) != "" {
		return fault.New(fault.Unauthenticated, "no_token", "This route is called by Cloud Scheduler, which sends its identity token in Authorization and none in "+checkedInstead+".")
	}
	said, err := g.read(ctx, values[0][len("Bearer "):])
	if away := fault.From(err); err != nil && away.Kind == fault.Unavailable {
		return away // whether the token is good is not known
	}
	if err != nil {
		return &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Detail: "The identity token is none of Google's for this service, or has expired. The job's audience must be what SCHEDULER_AUDIENCE says.", Cause: err}
	}
	if !said.Verified || !slices.Contains(g.accounts[path], said.Email) {
		return &fault.Error{Kind: fault.Forbidden, Code: "other_account", Detail: "Another account than this token's calls this schedule. SCHEDULER_ACCOUNTS names it.",
			Cause: fmt.Errorf("%s (verified: %v) called %s", said.Email, said.Verified, path)}
	}
	return nil
}

// read checks a token and returns what it says. One whose signature was removed is
// believed where Cloud Run has removed it, as nobody gets past Cloud Run.
func (g guard) read(ctx context.Context, token string) (said claims, err error) {
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(issuer), jwt.WithAudience(g.audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(skew), jwt.WithTimeFunc(g.now),
	}
	if g.removed && strings.HasSuffix(token, "."+removed) {
		if _, _, err := jwt.NewParser(options...).ParseUnverified(token, &said); err != nil {
			return claims{}, err
		}
		return said, jwt.NewValidator(options...).Validate(said)
	}
	_, err = jwt.NewParser(options...).ParseWithClaims(token, &said, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		return g.keys.Named(ctx, id)
	})
	return said, err
}
