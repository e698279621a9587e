package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// gitHub signs people in whom GitHub knows.
type gitHub struct{ *accounts }

func (g gitHub) route(api *httpapi.API) {
	errs := []int{http.StatusNotFound, http.StatusServiceUnavailable}
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "start-github", Method: http.MethodGet, Path: "/api/auth/github/start", Security: httpapi.Public, DefaultStatus: http.StatusSeeOther,
		Tags: []string{"auth"}, Summary: "Sign in with GitHub",
		Description: "For a browser to go to: leads to GitHub, which sends it back.", Errors: errs,
	}, &githubAddress), g.start)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "github-callback", Method: http.MethodGet, Path: "/api/auth/github/callback", Security: httpapi.Public, DefaultStatus: http.StatusSeeOther,
		Tags: []string{"auth"}, Summary: "Come back from GitHub",
		Description: "Leads back to where the sign-in began, with what came of it behind the #: github=signed-in, and the session cookie is set; " +
			"github=link, since an account has the e-mail address and its password is wanted once; github=register, since there is no account; " +
			"or github=denied, expired, unverified, disabled or unavailable. With link and register stand login, name and email.",
		SkipValidateParams: true, // GitHub may tell more one day
		Errors:             errs,
	}, &githubAddress), g.callback)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "link-github", Method: http.MethodPost, Path: "/api/auth/github/link", Security: httpapi.Public,
		Tags: []string{"auth"}, Summary: "Sign in with GitHub to an account from now on",
		Description: "For who came back from GitHub within ten minutes and knows the account's password. The answer is that of signing in.",
		Errors:      append(errs, http.StatusUnauthorized, http.StatusConflict),
	}, &loginAddress, &loginNetwork, &loginAccount, &loginDevice), g.link)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "register-github", Method: http.MethodPost, Path: "/api/auth/github/register", Security: httpapi.Public, DefaultStatus: http.StatusCreated,
		Tags: []string{"auth"}, Summary: "Open an account that signs in with GitHub",
		Description: "For who came back from GitHub within ten minutes. The account has the address that GitHub has verified, and no password. The answer is that of registering.",
		Errors:      append(errs, http.StatusUnauthorized, http.StatusConflict, http.StatusGone),
	}, &registerAddress, &registerDay, &registerNetwork, &registerAccount), g.register)
	httpapi.Register(api, huma.Operation{
		OperationID: "show-github", Method: http.MethodGet, Path: "/api/auth/github", Security: httpapi.Bearer,
		Tags: []string{"auth"}, Summary: "Show how the account signs in",
		Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
	}, g.show)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "unlink-github", Method: http.MethodDelete, Path: "/api/auth/github", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"auth"}, Summary: "Sign in with GitHub no more",
		Description: "For who has a password. Who does not sign in with GitHub is answered the same.",
		Errors:      []int{http.StatusUnauthorized, http.StatusConflict, http.StatusServiceUnavailable},
	}, &accountUser), g.unlink)
}

var errNoGitHub = fault.New(fault.NotFound, "no_github", "Nobody signs in with GitHub here: whoever operates this installation has not set it up.")

// redirectOutput sends a browser elsewhere.
type redirectOutput struct {
	Location     string   `header:"Location"`
	SetCookie    []string `header:"Set-Cookie"`
	CacheControl string   `header:"Cache-Control"`
}

type startInput struct {
	identity.CookieInput
	Return string `query:"return" maxLength:"512" default:"/" example:"/" doc:"Where to go afterwards: a path of the page."`
	Site   string `header:"Sec-Fetch-Site" hidden:"true"`
}

// start remembers in the browser what it sends to GitHub. Another site's page cannot
// have it begin: whose browser it is would find themselves signed in.
func (g gitHub) start(ctx context.Context, in *startInput) (*redirectOutput, error) {
	if g.github == nil {
		return nil, errNoGitHub
	}
	if !slices.Contains([]string{"", "none", "same-origin"}, in.Site) {
		return nil, fault.New(fault.Forbidden, "cross_site", "Another site's page leads here. Sign in from the page where you sign in.")
	}
	if !isOwnPath(in.Return) {
		return nil, fault.InvalidField("query.return", "must be a path of this site, such as /")
	}
	// The callback comes from another site, without the session cookie.
	replaces, err := in.Sessions(ctx, g.signer)
	if err != nil {
		return nil, err
	}
	p := pending{State: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Return: in.Return, Replaces: replaces, Until: g.now().Add(githubTime)}
	cookie, err := g.seal(ctx, pendingPurpose, p, http.SameSiteLaxMode)
	if err != nil {
		return nil, err
	}
	return &redirectOutput{g.github.Authorize(p.State, p.Verifier), []string{cookie}, "no-store"}, nil
}

// isOwnPath tells whether a browser that is sent there stays here, whatever it makes
// of it.
func isOwnPath(path string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }
	_, err := url.Parse(path)
	return err == nil && strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.ContainsFunc(path, odd)
}

type callbackInput struct {
	githubInput
	Code      string `query:"code"`
	State     string `query:"state"`
	Error     string `query:"error"`
	UserAgent string `header:"User-Agent" hidden:"true"`
}

// peerTime is how long GitHub may take for all its answers.
const peerTime = 7 * time.Second

// callback goes on where start left off, in the same browser and for the same state:
// a code that somebody else got for themselves is of no use here.
func (g gitHub) callback(ctx context.Context, in *callbackInput) (*redirectOutput, error) {
	if g.github == nil {
		return nil, errNoGitHub
	}
	var p pending
	ours, err := g.unseal(ctx, pendingPurpose, in.githubInput, &p)
	if err != nil {
		return nil, err
	}
	if !ours || g.now().After(p.Until) || subtle.ConstantTimeCompare([]byte(p.State), []byte(in.State)) != 1 {
		// What is in the cookie may be another tab's, which goes on with it.
		return &redirectOutput{"/#github=expired", nil, "no-store"}, nil
	}
	back := func(became string, about url.Values, cookies ...string) (*redirectOutput, error) {
		if len(about) > 0 {
			became += "&" + about.Encode()
		}
		return &redirectOutput{p.Return + "#github=" + became, cookies, "no-store"}, nil
	}
	if in.Error != "" || in.Code == "" {
		return back("denied", nil, clearGitHubCookie())
	}
	who, err := g.ask(ctx, in.Code, p.Verifier)
	var theirs githubFailure
	switch {
	case errors.Is(err, github.ErrCode):
		return back("expired", nil, clearGitHubCookie())
	case errors.As(err, &theirs):
		httpapi.Note(ctx, "github", err.Error())
		return back("unavailable", nil, clearGitHubCookie())
	case err != nil:
		return nil, err
	case who.disabled:
		return back("disabled", nil, clearGitHubCookie())
	}
	cookie, err := g.seal(ctx, proofPurpose, who.proof, http.SameSiteStrictMode)
	if err != nil {
		return nil, err
	}
	switch about := (url.Values{"login": {who.Login}, "name": {who.Name}, "email": {who.Email}}); {
	case who.known:
		cookies, err := g.signInKnown(ctx, who.Person, opening{replaces: p.Replaces, userAgent: clip(in.UserAgent)})
		if err != nil {
			return nil, err
		}
		return back("signed-in", nil, append(cookies, cookie)...)
	case who.Email == "":
		return back("unverified", nil, clearGitHubCookie())
	case who.hasAccount:
		return back("link", about, cookie)
	default:
		return back("register", about, cookie)
	}
}

// visitor is who came back, and whom we know them as.
type visitor struct {
	proof
	known      bool // they sign in with GitHub
	disabled   bool
	hasAccount bool // of their address
}

// githubFailure is what went wrong at GitHub, and not here.
type githubFailure struct{ error }

// theirs tells a failure of GitHub's from one in reading our secret for it.
func theirs(err error) error {
	if fault.From(err).Kind == fault.Unavailable {
		return err
	}
	return githubFailure{err}
}

// Unwrap shows what is inside.
func (f githubFailure) Unwrap() error { return f.error }

// ask asks GitHub, and of whom it says the database.
func (g gitHub) ask(ctx context.Context, code, verifier string) (v visitor, err error) {
	timed, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	granted, err := g.github.Exchange(timed, code, verifier)
	if err != nil {
		return v, theirs(err)
	}
	if v.Person, err = granted.Person(timed); err != nil {
		return v, theirs(err)
	}
	v.Until = g.now().Add(githubTime)
	if v.known, v.disabled, err = knownBy(ctx, g.db, v.Person); err != nil || v.known {
		return v, err
	}
	text, err := granted.Email(timed)
	if err != nil {
		return v, theirs(err)
	}
	email, err := parseAddress(text)
	if err != nil { // none, or none that could be an account's
		return v, nil
	}
	v.Email = text
	found, err := findAccount(ctx, g.db, email)
	v.hasAccount = found.exists()
	return v, err
}

func (g gitHub) signInKnown(ctx context.Context, who github.Person, o opening) ([]string, error) {
	if err := g.signer.Ready(ctx); err != nil {
		return nil, err
	}
	session, profile, err := signInBy(ctx, g.db, who, o)
	if errors.Is(err, pgx.ErrNoRows) { // it was unlinked or disabled meanwhile
		return nil, errAccountChanging
	}
	if err != nil {
		return nil, err
	}
	in, err := g.grant(ctx, session, profile)
	if err != nil {
		return nil, err
	}
	return in.SetCookie, nil
}

// proven returns what GitHub has said of the caller, within the last ten minutes.
func (a *accounts) proven(ctx context.Context, in githubInput) (proof, error) {
	if a.github == nil {
		return proof{}, errNoGitHub
	}
	var p proof
	ours, err := a.unseal(ctx, proofPurpose, in, &p)
	if err == nil && (!ours || a.now().After(p.Until)) {
		err = fault.New(fault.Unauthenticated, "no_github_proof", "GitHub has not said within the last ten minutes who you are. Sign in with GitHub again.")
	}
	return p, err
}

// reproveByGitHub is reprove for an account without a password.
func (a *accounts) reproveByGitHub(ctx context.Context, found account, in githubInput) error {
	p, err := a.proven(ctx, in)
	if err != nil && fault.From(err).Kind != fault.Unauthenticated {
		return err
	}
	if err == nil {
		owner, err := ownerOf(ctx, a.db, p.Person)
		if err != nil || owner == found.id {
			return err
		}
	}
	return fault.New(fault.Forbidden, "github_proof_needed", "This account has no password. Sign in with GitHub once more, and try again within ten minutes. Nothing was changed.")
}

type linkGitHubInput struct {
	identity.CookieInput
	githubInput
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      struct {
		Email    string `json:"email,omitempty" maxLength:"254" doc:"Of the account; by default the address that GitHub has verified."`
		Password string `json:"password" doc:"Of the account."`
	}
}

// Resolve reads both kinds of cookie, whose methods would otherwise hide each other.
func (in *linkGitHubInput) Resolve(ctx huma.Context) []error {
	return append(in.CookieInput.Resolve(ctx), in.githubInput.Resolve(ctx)...)
}

func (g gitHub) link(ctx context.Context, in *linkGitHubInput) (*signedInOutput, error) {
	p, err := g.proven(ctx, in.githubInput)
	if err != nil {
		return nil, err
	}
	if in.Body.Email == "" {
		in.Body.Email = p.Email
	}
	var wrong faults
	email := wrong.email(in.Body.Email)
	wrong.passwordLength("body.password", in.Body.Password)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return used(g.enter(ctx, email, in.Body.Password, in.CookieInput, in.UserAgent, linking(p.Person)))
}

// used takes a proof away that has served: it is not to lie about in a browser that
// somebody else may use next.
func used(out *signedInOutput, err error) (*signedInOutput, error) {
	if err == nil {
		out.SetCookie = append(out.SetCookie, clearGitHubCookie())
	}
	return out, err
}

type registerGitHubInput struct {
	identity.CookieInput
	githubInput
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      struct {
		Name     string  `json:"name,omitempty" maxLength:"100" doc:"By default the one at GitHub."`
		Team     string  `json:"team,omitempty" maxLength:"100" doc:"As in registering with a password."`
		TimeZone *string `json:"time_zone,omitempty" example:"Europe/Berlin"`
		Link     string  `json:"link,omitempty" maxLength:"200" example:"dd_lnk_…"`
	}
}

// Resolve reads both kinds of cookie.
func (in *registerGitHubInput) Resolve(ctx huma.Context) []error {
	return append(in.CookieInput.Resolve(ctx), in.githubInput.Resolve(ctx)...)
}

func (g gitHub) register(ctx context.Context, in *registerGitHubInput) (*signedInOutput, error) {
	p, err := g.proven(ctx, in.githubInput)
	if err != nil {
		return nil, err
	}
	if p.Email == "" {
		return nil, fault.New(fault.Conflict, "github_taken", "This GitHub account has an account here already. Sign in with GitHub.")
	}
	r := Registration{Email: p.Email, Name: in.Body.Name, Team: in.Body.Team, TimeZone: in.Body.TimeZone, Link: in.Body.Link}
	if r.Name == "" {
		r.Name = p.displayName()
	}
	var wrong faults
	account := r.account(&wrong)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	account.person = p.Person
	return used(g.open(ctx, account, r.Link, "", in.CookieInput, in.UserAgent))
}

// displayName is what somebody is called who does not say it.
func (p proof) displayName() string {
	var wrong faults
	if name := []rune(wrong.name("", p.Name)); wrong == nil && len(name) <= 100 {
		return string(name)
	}
	return p.Login
}

// GitHubLink is how an account signs in.
type GitHubLink struct {
	Login    *string `json:"login" doc:"At GitHub; null if the account does not sign in with it."`
	Password bool    `json:"password" doc:"Whether the account has a password."`
}

type showGitHubOutput struct{ Body GitHubLink }

func (g gitHub) show(ctx context.Context, _ *struct{}) (*showGitHubOutput, error) {
	link, err := linkOfCaller(ctx, g.db, access.CallerOf(ctx))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return &showGitHubOutput{link}, nil
}

func (g gitHub) unlink(ctx context.Context, _ *struct{}) (*struct{}, error) {
	password, err := unlink(ctx, g.db, access.CallerOf(ctx))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err == nil && !password {
		err = fault.New(fault.Conflict, "no_password", "This account has no password, and nobody could sign in to it. Set one first, by the link for a forgotten password.")
	}
	return nil, err
}
