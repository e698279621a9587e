package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// form is what sets one kind of token apart from every other: its type, its
// audience, its one algorithm, and the bytes that it may have at most.
type form struct {
	typ      string
	audience string
	method   jwt.SigningMethod
	most     int
}

var (
	accessForm  = form{typ: "at+jwt", audience: "dashboard", method: jwt.SigningMethodEdDSA, most: 2 << 10}
	refreshForm = form{typ: "rt+jwt", audience: "dd-refresh", method: jwt.SigningMethodHS256, most: 1 << 10}
	deviceForm  = form{typ: "dt+jwt", audience: "dd-device", method: jwt.SigningMethodHS256, most: 1 << 10}
)

// validator returns golang-jwt's judge of claims. Its parser is not used: it reads a
// header and a claims set anew, by looser rules, that have been read here.
func (f form) validator(issuer string, options ...jwt.ParserOption) *jwt.Validator {
	return jwt.NewValidator(append(options,
		jwt.WithIssuer(issuer),
		jwt.WithAudience(f.audience),
	)...)
}

var encoding = base64.RawURLEncoding.Strict()

func (f form) sign(k key, claims jwt.Claims) (string, error) {
	said, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	// A kid is base64url and needs no escapes.
	header := `{"alg":"` + f.method.Alg() + `","kid":"` + k.id + `","typ":"` + f.typ + `"}`
	signed := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString(said)
	signature, err := f.method.Sign(signed, k.signs)
	if err != nil {
		return "", err
	}
	return signed + "." + encoding.EncodeToString(signature), nil
}

// readable are claims that read themselves strictly.
type readable interface {
	jwt.Claims
	UnmarshalJSON([]byte) error
}

// read checks text from the cheapest test to the dearest and fills claims. Nothing
// is forgiven: length, line breaks in base64, any header but alg, kid and typ, or
// another than the one algorithm of the form. Keys are asked for after that, so
// that nothing but a well-formed header has Secret Manager read; where they cannot
// be used the error is a fault, and otherwise it is about the token. Claims are
// read before the signature is checked; nothing is believed until then.
func (f form) read(ctx context.Context, text string, validator *jwt.Validator, keys *source, claims readable) error {
	if len(text) > f.most {
		return flaw(fmt.Sprintf("is longer than the %d bytes that it may have", f.most))
	}
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, foreign) {
		return flaw("is not three parts of base64url with dots between them")
	}
	header, rest, _ := strings.Cut(text, ".")
	said, mark, _ := strings.Cut(rest, ".")
	id, err := f.header(header)
	if err != nil {
		return err
	}
	k, ok, err := keys.named(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return flaw("is signed with a key that is not in use here")
	}
	body, err := encoding.DecodeString(said)
	if err != nil {
		return flaw("has a claims set that is not base64url")
	}
	if err := claims.UnmarshalJSON(body); err != nil {
		return err
	}
	signature, err := encoding.DecodeString(mark)
	if err != nil {
		return flaw("has a signature that is not base64url")
	}
	if f.method.Verify(text[:len(header)+1+len(said)], signature, k.verifies) != nil {
		return flaw("has a signature that does not fit")
	}
	return validator.Validate(claims)
}

// foreign tells whether r stands in no token. Package base64 skips line breaks.
func foreign(r rune) bool {
	switch {
	case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		return false
	}
	return true
}

// header returns the id of the key that a token's first part names.
func (f form) header(part string) (id string, err error) {
	text, err := encoding.DecodeString(part)
	if err != nil {
		return "", flaw("has a header that is not base64url")
	}
	var alg, typ string
	if err := (object{"alg": &alg, "kid": &id, "typ": &typ}).readWhole(text); err != nil {
		return "", flaw("has a header that " + err.Error())
	}
	if alg != f.method.Alg() || typ != f.typ {
		return "", flaw(fmt.Sprintf("is of another kind: its alg and typ must be %s and %s", f.method.Alg(), f.typ))
	}
	return id, nil
}

// flaw is what is wrong with a token, in words that follow "The token".
type flaw string

func (f flaw) Error() string { return string(f) }

// claims are what both kinds of token say.
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	User     string `json:"sub"`
	Session  string `json:"sid"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

func (c *claims) members() object {
	return object{
		"iss": &c.Issuer, "aud": &c.Audience, "sub": &c.User, "sid": &c.Session,
		"jti": &c.ID, "iat": &c.IssuedAt, "exp": &c.Expires,
	}
}

// The methods by which golang-jwt sees them.

func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.User, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Audience}, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(c.IssuedAt), nil }
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return date(c.Expires), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }

func date(seconds int64) *jwt.NumericDate { return &jwt.NumericDate{Time: time.Unix(seconds, 0)} }

// ids reads the three ids, which have one spelling each.
func (c *claims) ids() (user, session, token uuid.UUID, err error) {
	for _, part := range []struct {
		name, text string
		id         *uuid.UUID
	}{{"sub", c.User, &user}, {"sid", c.Session, &session}, {"jti", c.ID, &token}} {
		*part.id, err = uuid.Parse(part.text)
		if err != nil || part.id.String() != part.text || *part.id == uuid.Nil {
			return user, session, token, flaw("has a " + part.name + " that is not a UUID in lower case")
		}
	}
	return user, session, token, nil
}

// latest is the end of the year 9999: the last second that RFC 3339 can write.
const latest = 253402300799

// times checks that a token is good for some time and no longer than most.
func (c *claims) times(most time.Duration) error {
	if c.IssuedAt <= 0 || c.Expires <= c.IssuedAt || c.Expires > latest || c.Expires-c.IssuedAt > int64(most/time.Second) {
		return flaw(fmt.Sprintf("is not good for %s or less, from iat to exp", most))
	}
	return nil
}
