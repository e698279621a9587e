// Package github asks GitHub who somebody is: OAuth 2 with an authorization code and
// PKCE, then the profile and its e-mail addresses. It keeps nothing, the access token
// least of all; what follows from the answer is left to auth.
package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

const (
	idSetting     = "GITHUB_CLIENT_ID"
	secretSetting = "GITHUB_CLIENT_SECRET"
	urlSetting    = "GITHUB_URL"
	originSetting = "PUBLIC_ORIGIN"

	publicURL = "https://github.com"
)

// Need declares that a function signs people in with GitHub. Without its settings it
// does not.
var Need = function.Need{Name: "github", Settings: []function.Setting{
	{Name: idSetting, Optional: true, Doc: "the client of an OAuth app at GitHub whose callback is PUBLIC_ORIGIN/api/auth/github/callback; unset, nobody signs in with GitHub"},
	{Name: secretSetting, Optional: true, Secret: true, Doc: "with GITHUB_CLIENT_ID: the client's secret"},
	{Name: urlSetting, Default: publicURL, Doc: "where GitHub is, for GitHub Enterprise: https://github.example.com"},
}, Check: check}

func check(setting func(string) string) (errs []error) {
	if (setting(idSetting) == "") != (setting(secretSetting) == "") {
		errs = append(errs, errors.New("set both GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or neither"))
	}
	if setting(idSetting) != "" && setting(originSetting) == "" {
		errs = append(errs, errors.New("GITHUB_CLIENT_ID needs PUBLIC_ORIGIN: GitHub sends people back to the address that was registered with it"))
	}
	scheme, host, isOrigin := httpapi.CutOrigin(setting(urlSetting))
	if !isOrigin || scheme == "http" && !httpapi.IsLoopback(host) {
		errs = append(errs, errors.New("GITHUB_URL must be an origin such as https://github.example.com"))
	}
	return errs
}

// Person is who GitHub says somebody is.
type Person struct {
	ID    string // the number that stays theirs, in decimal
	Login string
	Name  string
}

// Bounds on what is waited for and read.
const (
	stepTime = 5 * time.Second
	most     = 256 << 10
)

// Peer is GitHub as it is asked.
type Peer struct {
	config oauth2.Config // without the secret
	secret *secrets.Value
	api    string
	client *http.Client
}

// PeerFor returns the process's peer, or nil where nobody signs in with GitHub.
func PeerFor(env *function.Env) *Peer {
	if env.Setting(idSetting) == "" {
		return nil
	}
	return function.Shared(env, Need, func() *Peer {
		at := env.Setting(urlSetting)
		return &Peer{
			config: oauth2.Config{
				ClientID:    env.Setting(idSetting),
				RedirectURL: env.Setting(originSetting) + "/api/auth/github/callback",
				Scopes:      []string{"user:email"},
				Endpoint:    oauth2.Endpoint{AuthURL: at + "/login/oauth/authorize", TokenURL: at + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams},
			},
			secret: secrets.For(env, secretSetting),
			api:    apiOf(at),
			client: &http.Client{
				Timeout: stepTime,
				// Neither a code nor a token goes where GitHub was not configured to be.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
		}
	})
}

// apiOf returns where the API of a GitHub is: of github.com and of its tenants
// (https://octo.ghe.com) at a host of its own, of an Enterprise Server below /api/v3.
func apiOf(at string) string {
	host := strings.TrimPrefix(at, "https://")
	if at == publicURL || strings.HasSuffix(host, ".ghe.com") {
		return "https://api." + host
	}
	return at + "/api/v3"
}

// Authorize returns where somebody says to GitHub that they want to sign in here.
func (p *Peer) Authorize(state, verifier string) string {
	return p.config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// ErrCode refuses a code that GitHub does not take: it was used, has expired, or was
// given to somebody else.
var ErrCode = errors.New("GitHub does not take the code")

// Access is what GitHub lets us read of a person.
type Access struct {
	peer  *Peer
	token string
}

// Exchange trades a code for access. Its errors name neither.
func (p *Peer) Exchange(ctx context.Context, code, verifier string) (Access, error) {
	secret, err := p.secret.Get(ctx)
	if err != nil {
		return Access{}, err
	}
	config := p.config
	config.ClientSecret = secret
	token, err := config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, p.client), code, oauth2.VerifierOption(verifier))
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == "bad_verification_code":
		return Access{}, ErrCode
	case errors.As(err, &refused):
		return Access{}, fmt.Errorf("GitHub gives no token: %d %q", refused.Response.StatusCode, refused.ErrorCode)
	case err != nil:
		return Access{}, fmt.Errorf("GitHub gives no token: %w", unaddressed(err))
	case !strings.EqualFold(token.TokenType, "bearer"):
		return Access{}, fmt.Errorf("GitHub gives a token of the type %q", token.TokenType)
	}
	return Access{p, token.AccessToken}, nil
}

// Person asks who it is.
func (a Access) Person(ctx context.Context) (Person, error) {
	var said struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := a.get(ctx, "/user", &said); err != nil {
		return Person{}, err
	}
	if said.ID <= 0 || said.Login == "" {
		return Person{}, errors.New("GitHub does not say who it is")
	}
	return Person{strconv.FormatInt(said.ID, 10), said.Login, said.Name}, nil
}

// Email asks for the address that GitHub has verified and the person uses first; ""
// if there is none. Others of theirs count for nothing: who may use them is not as
// sure.
func (a Access) Email(ctx context.Context) (string, error) {
	var said []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := a.get(ctx, "/user/emails?per_page=100", &said); err != nil {
		return "", err
	}
	for _, e := range said {
		if e.Primary && e.Verified {
			return e.Email, nil
		}
	}
	return "", nil
}

func (a Access) get(ctx context.Context, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.peer.api+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	r.Header.Set("User-Agent", "devops-dashboard")
	answer, err := a.peer.client.Do(r)
	if err != nil {
		return fmt.Errorf("GitHub does not answer: %w", unaddressed(err))
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GitHub answers %d for %s", answer.StatusCode, path)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil || len(text) > most {
		return fmt.Errorf("GitHub's answer for %s cannot be read, or is longer than %d bytes", path, most)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("GitHub's answer for %s is no JSON of the kind that was asked for", path)
	}
	return nil
}

// unaddressed takes the address out of an error, whose query may say too much.
func unaddressed(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
