package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/jwks"
)

const (
	// skew is how far GitHub's clock may be from ours.
	skew = time.Minute
	// most is how many bytes a token has: claims and properties of repositories make
	// them some two thousand.
	most = 8 << 10
	// longest is how long a token may be good. GitHub says nowhere how long its are;
	// five minutes and six hours have been seen. For that long its use is remembered.
	longest = 24 * time.Hour
)

// Token is what a job's token says of it.
type Token struct {
	ID          [sha256.Size]byte // of this token and no other
	ExpiresAt   time.Time
	Repository  int64 // numbers stay where names are given up and taken by others
	Owner       int64
	Name        string // of the repository, for people
	Environment string // that the job names; empty without one
}

// Verifier checks tokens.
type Verifier struct {
	issuer, audience string
	now              func() time.Time
	keys             *jwks.Keys
}

// Is tells whether text has the form of a workflow's token and not that of one of
// ours, which are signed by other methods. It proves nothing.
func Is(text string) bool {
	head, _, _ := strings.Cut(text, ".")
	if len(text) > most {
		return false
	}
	said, err := base64.RawURLEncoding.DecodeString(head)
	var header struct{ Alg string }
	return err == nil && json.Unmarshal(said, &header) == nil && header.Alg == jwt.SigningMethodRS256.Alg()
}

// parts are those of a token. Package base64 skips line breaks.
var parts = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// claims are what is asked of a token here. The subject has several forms, and a
// customer may make up another: it has to be there and decides nothing.
type claims struct {
	jwt.RegisteredClaims
	Repository   string `json:"repository"`
	RepositoryID string `json:"repository_id"`
	OwnerID      string `json:"repository_owner_id"`
	Event        string `json:"event_name"`
	Ref          string `json:"ref"`
	Environment  string `json:"environment"`
}

// Read returns what a token says, once its signature, its audience and its time are
// proved, and that it is no pull request's. Where the keys cannot be had, the fault
// is Unavailable.
func (v *Verifier) Read(ctx context.Context, text string) (Token, error) {
	if v.audience == "" {
		return Token{}, fault.New(fault.Forbidden, "no_audience", "No workflow reports here: this installation does not know its own address. Its operator sets PUBLIC_ORIGIN or WORKFLOW_AUDIENCE.")
	}
	var said claims
	if len(text) > most || !parts.MatchString(text) {
		return Token{}, v.refusal(jwt.ErrTokenMalformed, &said)
	}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(v.issuer), jwt.WithAudience(v.audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(skew), jwt.WithTimeFunc(v.now),
	).ParseWithClaims(text, &said, func(t *jwt.Token) (any, error) {
		if t.Header["typ"] != "JWT" || t.Header["crit"] != nil {
			return nil, errors.New("it is of another kind")
		}
		id, _ := t.Header["kid"].(string)
		return v.keys.Named(ctx, id)
	})
	if err != nil {
		return Token{}, v.refusal(err, &said)
	}
	token, err := said.token()
	if err != nil {
		return Token{}, &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Detail: "The workflow's token does not say what GitHub's do: " + err.Error() + ".", Cause: err}
	}
	// A token does not say whether a pull request comes from a fork, and a change that
	// is only proposed has deployed nothing.
	if strings.HasPrefix(said.Event, "pull_request") || strings.HasPrefix(said.Ref, "refs/pull/") {
		return Token{}, fault.New(fault.Forbidden, "pull_request", "This workflow runs for a pull request ("+said.Event+"), which anybody can open from a fork. Report from one that runs for push, release, deployment or by hand.")
	}
	token.ID = sha256.Sum256([]byte(v.issuer + "\n" + said.ID))
	return token, nil
}

// refusal tells the caller what to change. What the token says is repeated only
// where its signature is good.
func (v *Verifier) refusal(err error, said *claims) error {
	if away := fault.From(err); away.Kind == fault.Unavailable {
		return away
	}
	refused := &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Cause: err}
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(jwks.ErrUnknown):
		refused.Detail = "The workflow's token is signed with a key that is not one of GitHub's at " + v.issuer + "."
	case is(jwt.ErrTokenInvalidAudience):
		refused.Code = "wrong_audience"
		refused.Detail = "The workflow's token is for another audience (" + strings.Join(said.Audience, ", ") + "). Ask for one with &audience=" + v.audience + " at the end of ACTIONS_ID_TOKEN_REQUEST_URL."
	case is(jwt.ErrTokenInvalidIssuer):
		refused.Detail = "The workflow's token comes from another issuer (" + said.Issuer + ") than " + v.issuer + ", which WORKFLOW_ISSUER says."
	case is(jwt.ErrTokenExpired):
		refused.Code, refused.Detail = "token_expired", "The workflow's token expired at "+said.ExpiresAt.UTC().Format(time.RFC3339)+". Ask for it right before the report."
	default:
		refused.Detail = "This is no token of GitHub Actions that is good now. Ask for one right before the report, and send it whole."
	}
	return refused
}

var number = regexp.MustCompile(`^[1-9][0-9]*$`)

// token reads the claims that jwt leaves to us.
func (c *claims) token() (t Token, err error) {
	if t.Repository, err = parseNumber("repository_id", c.RepositoryID); err != nil {
		return t, err
	}
	if t.Owner, err = parseNumber("repository_owner_id", c.OwnerID); err != nil {
		return t, err
	}
	switch {
	case len(c.Audience) != 1:
		return t, errors.New("it is for several audiences")
	case c.ID == "" || c.Subject == "" || c.Event == "" || c.Repository == "":
		return t, errors.New("it lacks jti, sub, event_name or repository")
	case c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > longest:
		return t, errors.New("it is good for more than a day")
	}
	t.ExpiresAt, t.Name, t.Environment = c.ExpiresAt.UTC(), c.Repository, c.Environment
	return t, nil
}

// parseNumber reads an id, which GitHub writes as text.
func parseNumber(name, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !number.MatchString(text) {
		return 0, errors.New("its " + name + " is no number")
	}
	return n, nil
}
