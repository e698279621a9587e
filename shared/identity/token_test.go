package identity_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
)

var encode = base64.RawURLEncoding.EncodeToString

// forger signs whatever it is told to with the real keys, and takes no library's
// word for what a token looks like.
type forger struct {
	settings  map[string]string
	accessID  string
	refreshID string
	private   ed25519.PrivateKey
	secret    []byte
}

func newForger(t testing.TB) forger {
	t.Helper()
	return newForgerOf(t, identitytest.Settings(t))
}

// newForgerOf returns a forger who has stolen the keys in settings.
func newForgerOf(t testing.TB, settings map[string]string) forger {
	t.Helper()
	f := forger{settings: settings}
	member := func(setting, name string) string {
		var set struct{ Keys []map[string]string }
		if err := json.Unmarshal([]byte(f.settings[setting]), &set); err != nil {
			t.Fatal(err)
		}
		return set.Keys[0][name]
	}
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f.private = ed25519.NewKeyFromSeed(decode(member("ACCESS_SIGNING_KEYS", "d")))
	f.secret = decode(member("REFRESH_KEYS", "k"))
	thumbprint := func(members string) string {
		sum := sha256.Sum256([]byte(members))
		return encode(sum[:])[:16]
	}
	f.accessID = thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"` + member("ACCESS_PUBLIC_KEYS", "x") + `"}`)
	f.refreshID = thumbprint(`{"k":"` + member("REFRESH_KEYS", "k") + `","kty":"oct"}`)
	return f
}

func (f forger) eddsa(header, claims string) string {
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	return text + "." + encode(ed25519.Sign(f.private, []byte(text)))
}

func hs256(secret []byte, header, claims string) string {
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

func (f forger) hs256(header, claims string) string { return hs256(f.secret, header, claims) }

// tokenClaims is a claims set as JSON, with members changed: each value is JSON
// text, and "" takes the member out.
func tokenClaims(audience string, changes map[string]string) string {
	all := map[string]string{
		"iss": `"devops-dashboard"`, "aud": `"` + audience + `"`,
		"sub": `"11111111-1111-4111-8111-111111111111"`, "sid": `"22222222-2222-4222-8222-222222222222"`, "jti": `"33333333-3333-4333-8333-333333333333"`,
		"iat": fmt.Sprint(noon.Unix()), "exp": fmt.Sprint(noon.Add(15 * time.Minute).Unix()),
	}
	maps.Copy(all, changes)
	var members []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			members = append(members, fmt.Sprintf("%q:%s", name, all[name]))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func accessClaims(changes ...string) string {
	m := map[string]string{}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
	}
	return tokenClaims("dashboard", m)
}

func refreshClaims(changes ...string) string {
	m := map[string]string{"gen": "7"}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
	}
	return tokenClaims("dd-refresh", m)
}

func (f forger) header(changes ...string) string {
	typ, kid, alg := "at+jwt", f.accessID, "EdDSA"
	for i := 0; i < len(changes); i += 2 {
		switch changes[i] {
		case "typ":
			typ = changes[i+1]
		case "kid":
			kid = changes[i+1]
		case "alg":
			alg = changes[i+1]
		}
	}
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, alg, kid, typ)
}

func TestAccessTokenSays(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	want := identity.Access{
		ID: uuid.New(), User: uuid.New(), Session: uuid.New(),
		IssuedAt: noon, ExpiresAt: noon.Add(identity.AccessLifetime),
	}
	token, err := identitytest.Signer(t, f.settings).Access(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := identitytest.Verifier(t, f.settings, noon).Access(t.Context(), token); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	var header map[string]string
	part, _ := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
	if err := json.Unmarshal(part, &header); err != nil || !maps.Equal(header, map[string]string{"alg": "EdDSA", "typ": "at+jwt", "kid": f.accessID}) {
		t.Errorf("the header is %s", part)
	}
	// What our own clock need not check: somebody else's library reads it too.
	if _, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return f.private.Public(), nil }, jwt.WithTimeFunc(func() time.Time { return noon })); err != nil {
		t.Error(err)
	}
}

// Each of these is signed with the right key unless it says otherwise.
func TestAccessTokenRefused(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	verifier := identitytest.Verifier(t, f.settings, noon)
	other := newForger(t)
	good := f.eddsa(f.header(), accessClaims())
	for _, accepted := range []string{
		good,
		f.eddsa(`{ "typ":"at+jwt", "alg":"EdDSA", "kid":"`+f.accessID+`" }`, accessClaims()),
		f.eddsa(f.header(), accessClaims("iat", fmt.Sprint(noon.Unix()+29), "exp", fmt.Sprint(noon.Unix()+60))),
		f.eddsa(f.header(), accessClaims("iat", fmt.Sprint(noon.Unix()-900), "exp", fmt.Sprint(noon.Unix()-29))),
	} {
		if _, err := verifier.Access(t.Context(), accepted); err != nil {
			t.Errorf("%s: %v", accepted, err)
		}
	}
	parts := strings.Split(good, ".")
	at := func(iat, exp int64) string {
		return f.eddsa(f.header(), accessClaims("iat", fmt.Sprint(noon.Unix()+iat), "exp", fmt.Sprint(noon.Unix()+exp)))
	}
	const malformed = "three parts of base64url"
	for name, test := range map[string]struct{ token, detail string }{
		// Its form.
		"empty":                    {"", malformed},
		"two parts":                {parts[0] + "." + parts[1], malformed},
		"four parts":               {good + ".", malformed},
		"a JSON serialization":     {`{"payload":"` + parts[1] + `"}`, malformed},
		"padding":                  {good + "==", malformed},
		"a line break":             {parts[0] + "." + parts[1] + "." + parts[2][:9] + "\n" + parts[2][9:], malformed},
		"a carriage return at end": {good + "\r", malformed},
		"a space before":           {" " + good, malformed},
		"base64 of the other kind": {strings.Replace(good, ".", "+.", 1), malformed},
		"bytes beyond ASCII":       {good + "\xff", malformed},
		"a million dots":           {strings.Repeat(".", 1_000_000), "longer"},
		"2048 dots":                {strings.Repeat(".", 2048), malformed},
		"2049 bytes":               {strings.Repeat("a", 2049), "longer than the 2048 bytes"},
		"2048 bytes":               {strings.Repeat("a", 2048), malformed},
		"a long claim":             {f.eddsa(f.header(), accessClaims("x", `"`+strings.Repeat("a", 1<<20)+`"`)), "longer"},
		"the last bit changed":     {good[:len(good)-1] + malleated(good[len(good)-1]), "not base64url"},
		"the header's last bit":    {parts[0][:len(parts[0])-1] + malleated(parts[0][len(parts[0])-1]) + "." + parts[1] + "." + parts[2], "header"},
		"a part of one character":  {parts[0] + ".a." + parts[2], "not base64url"},
		"an empty header":          {"." + parts[1] + "." + parts[2], "header"},
		"a header that is no JSON": {f.eddsa("alg", accessClaims()), "not a JSON object"},
		"a header cut off":         {f.eddsa(`{"alg":"EdDSA"`, accessClaims()), "not JSON"},
		"a header that breaks off": {f.eddsa(`{"alg":`, accessClaims()), "not JSON"},
		"a header with no colon":   {f.eddsa(`{"alg" "EdDSA"}`, accessClaims()), "not JSON"},
		"a header with a comma":    {f.eddsa(`{"alg":"EdDSA",}`, accessClaims()), "not JSON"},
		"a header twice":           {f.eddsa(f.header()+f.header(), accessClaims()), "after its end"},
		"a header beyond UTF-8":    {f.eddsa("{\"alg\":\"\xff\"}", accessClaims()), "not UTF-8"},
		// Its kind.
		"typ absent":           {f.eddsa(`{"alg":"EdDSA","kid":"`+f.accessID+`"}`, accessClaims()), `lacks the member "typ"`},
		"typ JWT":              {f.eddsa(f.header("typ", "JWT"), accessClaims()), "another kind"},
		"typ in capitals":      {f.eddsa(f.header("typ", "AT+JWT"), accessClaims()), "another kind"},
		"typ of a refresh":     {f.eddsa(f.header("typ", "rt+jwt"), accessClaims()), "another kind"},
		"a refresh token":      {f.hs256(f.header("alg", "HS256", "typ", "rt+jwt", "kid", f.refreshID), refreshClaims()), "another kind"},
		"crit":                 {f.eddsa(extended(f.header(), `"crit":["x"],"x":1`), accessClaims()), `"crit"`},
		"b64":                  {f.eddsa(extended(f.header(), `"b64":false`), accessClaims()), `"b64"`},
		"jwk":                  {f.eddsa(extended(f.header(), `"jwk":{}`), accessClaims()), `"jwk"`},
		"jku":                  {f.eddsa(extended(f.header(), `"jku":"https://x"`), accessClaims()), `"jku"`},
		"x5c":                  {f.eddsa(extended(f.header(), `"x5c":[]`), accessClaims()), `"x5c"`},
		"zip":                  {f.eddsa(extended(f.header(), `"zip":"DEF"`), accessClaims()), `"zip"`},
		"cty":                  {f.eddsa(extended(f.header(), `"cty":"JWT"`), accessClaims()), `"cty"`},
		"alg twice":            {f.eddsa(extended(f.header(), `"alg":"EdDSA"`), accessClaims()), "twice"},
		"kid in capitals":      {f.eddsa(strings.Replace(f.header(), "kid", "KID", 1), accessClaims()), `"KID"`},
		"alg none":             {encode([]byte(f.header("alg", "none"))) + "." + parts[1] + ".", "another kind"},
		"alg in lower case":    {f.eddsa(f.header("alg", "eddsa"), accessClaims()), "another kind"},
		"alg Ed25519":          {f.eddsa(f.header("alg", "Ed25519"), accessClaims()), "another kind"},
		"alg absent":           {f.eddsa(`{"kid":"`+f.accessID+`","typ":"at+jwt"}`, accessClaims()), `lacks the member "alg"`},
		"alg a number":         {f.eddsa(strings.Replace(f.header(), `"EdDSA"`, "1", 1), accessClaims()), "not a string"},
		"HMAC with its text":   {hs256([]byte(encode(f.private.Public().(ed25519.PublicKey))), f.header("alg", "HS256"), accessClaims()), "another kind"},
		"HMAC called EdDSA":    {hs256(f.private.Public().(ed25519.PublicKey), f.header(), accessClaims()), "signature"},
		"HMAC with the public": {hs256(f.private.Public().(ed25519.PublicKey), f.header("alg", "HS256"), accessClaims()), "another kind"},
		// Its key.
		"kid absent":            {f.eddsa(`{"alg":"EdDSA","typ":"at+jwt"}`, accessClaims()), `lacks the member "kid"`},
		"kid empty":             {f.eddsa(f.header("kid", ""), accessClaims()), "not in use"},
		"kid a number":          {f.eddsa(`{"alg":"EdDSA","kid":1,"typ":"at+jwt"}`, accessClaims()), "not a string"},
		"kid an object":         {f.eddsa(`{"alg":"EdDSA","kid":{"x":"`+f.accessID+`"},"typ":"at+jwt"}`, accessClaims()), "not a string"},
		"kid of 1 kB":           {f.eddsa(f.header("kid", strings.Repeat("k", 1000)), accessClaims()), "not in use"},
		"kid of 10 kB":          {f.eddsa(f.header("kid", strings.Repeat("k", 10_000)), accessClaims()), "longer"},
		"kid the start of ours": {f.eddsa(f.header("kid", f.accessID[:15]), accessClaims()), "not in use"},
		"kid a path":            {f.eddsa(f.header("kid", "../../etc/passwd"), accessClaims()), "not in use"},
		"kid null":              {f.eddsa(`{"alg":"EdDSA","kid":null,"typ":"at+jwt"}`, accessClaims()), "not a string"},
		"kid an array":          {f.eddsa(`{"alg":"EdDSA","kid":["`+f.accessID+`"],"typ":"at+jwt"}`, accessClaims()), "not a string"},
		"kid of the refresh":    {f.eddsa(f.header("kid", f.refreshID), accessClaims()), "not in use"},
		"another key":           {other.eddsa(other.header(), accessClaims()), "not in use"},
		"another key's mark":    {other.eddsa(f.header(), accessClaims()), "signature"},
		"no signature":          {parts[0] + "." + parts[1] + ".", "signature"},
		"half a signature":      {parts[0] + "." + parts[1] + "." + parts[2][:44-1] + "A", "signature"},
		"a signature plus L":    {parts[0] + "." + parts[1] + "." + plusL(t, parts[2]), "signature"},
		"claims of another":     {parts[0] + "." + encode([]byte(accessClaims("sub", `"11111111-1111-4111-8111-111111111112"`))) + "." + parts[2], "signature"},
		"claims not base64":     {parts[0] + "." + parts[1][:len(parts[1])-1] + "." + parts[2], "not base64url"},
		"claims not an object":  {f.eddsa(f.header(), `[1]`), "not a JSON object"},
		"claims twice":          {f.eddsa(f.header(), accessClaims()+"{}"), "something after its end"},
		"claims beyond UTF-8":   {f.eddsa(f.header(), accessClaims("iss", "\"\xff\"")), "UTF-8"},
		// Its claims.
		"iss absent":           {f.eddsa(f.header(), accessClaims("iss", "")), `lacks the member "iss"`},
		"iss empty":            {f.eddsa(f.header(), accessClaims("iss", `""`)), "no issuer"},
		"iss of another":       {f.eddsa(f.header(), accessClaims("iss", `"staging"`)), "another installation"},
		"aud absent":           {f.eddsa(f.header(), accessClaims("aud", "")), `lacks the member "aud"`},
		"aud empty":            {f.eddsa(f.header(), accessClaims("aud", `""`)), "no audience"},
		"aud of the refresh":   {f.eddsa(f.header(), accessClaims("aud", `"dd-refresh"`)), "another audience"},
		"aud several":          {f.eddsa(f.header(), accessClaims("aud", `["x","dashboard"]`)), `"aud" that is not a string`},
		"aud an array of ours": {f.eddsa(f.header(), accessClaims("aud", `["dashboard"]`)), `"aud" that is not a string`},
		"sub absent":           {f.eddsa(f.header(), accessClaims("sub", "")), `lacks the member "sub"`},
		"sub no UUID":          {f.eddsa(f.header(), accessClaims("sub", `"ada"`)), "sub that is not a UUID"},
		"sub a URN":            {f.eddsa(f.header(), accessClaims("sub", `"urn:uuid:11111111-1111-4111-8111-111111111111"`)), "sub that is not a UUID"},
		"sid in capitals":      {f.eddsa(f.header(), accessClaims("sid", `"AAAAAAAA-1111-4111-8111-111111111111"`)), "sid that is not a UUID"},
		"sid absent":           {f.eddsa(f.header(), accessClaims("sid", "")), `lacks the member "sid"`},
		"jti nil":              {f.eddsa(f.header(), accessClaims("jti", `"00000000-0000-0000-0000-000000000000"`)), "jti that is not a UUID"},
		"jti absent":           {f.eddsa(f.header(), accessClaims("jti", "")), `lacks the member "jti"`},
		"exp absent":           {f.eddsa(f.header(), accessClaims("exp", "")), `lacks the member "exp"`},
		"exp a string":         {f.eddsa(f.header(), accessClaims("exp", `"9999999999"`)), "whole number"},
		"exp null":             {f.eddsa(f.header(), accessClaims("exp", `null`)), "whole number"},
		"exp huge":             {f.eddsa(f.header(), accessClaims("exp", `1e300`)), "whole number"},
		"exp past int64":       {f.eddsa(f.header(), accessClaims("exp", `99999999999999999999`)), "whole number"},
		"exp a fraction":       {f.eddsa(f.header(), accessClaims("exp", fmt.Sprintf("%d.5", noon.Unix()+60))), "whole number"},
		"exp and EXP":          {f.eddsa(f.header(), accessClaims("EXP", "1")), `"EXP"`},
		"EXP for exp":          {f.eddsa(f.header(), accessClaims("exp", "", "EXP", fmt.Sprint(noon.Unix()+60))), `"EXP"`},
		"exp twice":            {f.eddsa(f.header(), extended(accessClaims(), `"exp":9999999999`)), "twice"},
		"exp twice, escaped":   {f.eddsa(f.header(), extended(accessClaims(), `"\u0065xp":9999999999`)), "twice"},
		"nbf":                  {f.eddsa(f.header(), accessClaims("nbf", "1")), `"nbf"`},
		"a claim of no kind":   {f.eddsa(f.header(), accessClaims("role", `"owner"`)), `"role"`},
		"gen of a refresh":     {f.eddsa(f.header(), accessClaims("gen", "1")), `"gen"`},
		"iat absent":           {f.eddsa(f.header(), accessClaims("iat", "")), `lacks the member "iat"`},
		"iat in the future":    {at(31, 60), "in the future"},
		"iat 0":                {f.eddsa(f.header(), accessClaims("iat", "0", "exp", "900")), "15m0s or less"},
		"exp before iat":       {at(0, -1), "15m0s or less"},
		"exp at iat":           {at(0, 0), "15m0s or less"},
		"good for 15:01":       {at(0, 901), "15m0s or less"},
		"good for a year":      {at(0, 365*86400), "15m0s or less"},
		"in the year 10000":    {f.eddsa(f.header(), accessClaims("iat", "253402300700", "exp", "253402300800")), "15m0s or less"},
		"old and of another":   {f.eddsa(f.header(), accessClaims("iss", `"staging"`, "iat", fmt.Sprint(noon.Unix()-900), "exp", fmt.Sprint(noon.Unix()-800))), "another installation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := verifier.Access(t.Context(), test.token)
			refused(t, err, "invalid_token", test.detail)
			if got != (identity.Access{}) {
				t.Errorf("it says %+v", got)
			}
		})
	}
	for expired, token := range map[string]string{
		"2026-03-01T11:59:30Z": at(-900, -30), "2026-03-01T11:59:29Z": at(-900, -31),
		"2025-03-01T12:15:00Z": at(-365*86400, -365*86400+900),
	} {
		_, err := verifier.Access(t.Context(), token)
		refused(t, err, "token_expired", expired)
	}
}

func refused(t *testing.T, err error, code, detail string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unauthenticated || f.Code != code || !strings.Contains(f.Detail, detail) {
		t.Errorf("want %s with %q, got %v", code, detail, err)
	}
}

// extended returns an object with more members.
func extended(object, members string) string {
	return strings.TrimSuffix(object, "}") + "," + members + "}"
}

// malleated returns the base64 digit that differs in its last bit.
func malleated(digit byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[strings.IndexByte(digits, digit)^1])
}

// plusL returns a signature with the order of the group added to its S, which
// fits as well where S is not checked.
func plusL(t *testing.T, part string) string {
	t.Helper()
	signature, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return encode(append(signature[:32:32], sum...))
}

func TestRefreshTokenSays(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	signer := identitytest.Signer(t, f.settings)
	want := identity.Refresh{
		ID: uuid.New(), User: uuid.New(), Session: uuid.New(), Generation: 3,
		IssuedAt: noon.Add(time.Microsecond), ExpiresAt: noon.Add(identity.SessionLifetime + time.Microsecond),
	}
	token, err := signer.Refresh(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := identitytest.Signer(t, f.settings).Refresh(t.Context(), want); err != nil || again != token {
		t.Errorf("the same row makes another token: %v", err)
	}
	want.IssuedAt, want.ExpiresAt = want.IssuedAt.Truncate(time.Second), want.ExpiresAt.Truncate(time.Second)
	if got, err := signer.ReadRefresh(t.Context(), token); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	want.ID = uuid.New()
	if other, err := signer.Refresh(t.Context(), want); err != nil || other == token {
		t.Errorf("another jti makes the same token: %v", err)
	}
}

func TestRefreshTokenRefused(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	signer := identitytest.Signer(t, f.settings)
	header := f.header("alg", "HS256", "typ", "rt+jwt", "kid", f.refreshID)
	good := f.hs256(header, refreshClaims())
	for name, accepted := range map[string]string{
		"good": good,
		// Time is for the database to judge.
		"expired":       f.hs256(header, refreshClaims("iat", "1", "exp", "2")),
		"of the future": f.hs256(header, refreshClaims("iat", "4000000000", "exp", "4000000001")),
	} {
		if _, err := signer.ReadRefresh(t.Context(), accepted); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct{ token, detail string }{
		"1025 bytes":           {strings.Repeat("a", 1025), "longer than the 1024 bytes"},
		"a million dots":       {strings.Repeat(".", 1_000_000), "longer"},
		"1024 dots":            {strings.Repeat(".", 1024), "three parts"},
		"a space before":       {" " + good, "three parts"},
		"quoted":               {`"` + good + `"`, "three parts"},
		"typ absent":           {f.hs256(`{"alg":"HS256","kid":"`+f.refreshID+`"}`, refreshClaims()), `lacks the member "typ"`},
		"crit":                 {f.hs256(extended(header, `"crit":["x"],"x":1`), refreshClaims()), `"crit"`},
		"b64":                  {f.hs256(extended(header, `"b64":false`), refreshClaims()), `"b64"`},
		"jwk":                  {f.hs256(extended(header, `"jwk":{}`), refreshClaims()), `"jwk"`},
		"alg none":             {encode([]byte(f.header("alg", "none", "typ", "rt+jwt", "kid", f.refreshID))) + "." + encode([]byte(refreshClaims())) + ".", "another kind"},
		"alg in lower case":    {f.hs256(f.header("alg", "hs256", "typ", "rt+jwt", "kid", f.refreshID), refreshClaims()), "another kind"},
		"kid absent":           {f.hs256(`{"alg":"HS256","typ":"rt+jwt"}`, refreshClaims()), `lacks the member "kid"`},
		"kid an array":         {f.hs256(`{"alg":"HS256","typ":"rt+jwt","kid":["`+f.refreshID+`"]}`, refreshClaims()), "not a string"},
		"kid a path":           {f.hs256(f.header("alg", "HS256", "typ", "rt+jwt", "kid", "../../dev/null"), refreshClaims()), "not in use"},
		"kid of the access":    {hs256(f.private.Public().(ed25519.PublicKey), f.header("alg", "HS256", "typ", "rt+jwt", "kid", f.accessID), refreshClaims()), "not in use"},
		"no signature":         {good[:strings.LastIndexByte(good, '.')+1], "signature"},
		"half a signature":     {good[:len(good)-23], "signature"},
		"aud several":          {f.hs256(header, refreshClaims("aud", `["dd-refresh","dashboard"]`)), `"aud" that is not a string`},
		"iss absent":           {f.hs256(header, refreshClaims("iss", "")), `lacks the member "iss"`},
		"sub absent":           {f.hs256(header, refreshClaims("sub", "")), `lacks the member "sub"`},
		"jti no UUID":          {f.hs256(header, refreshClaims("jti", `"1"`)), "jti that is not a UUID"},
		"exp a string":         {f.hs256(header, refreshClaims("exp", `"9999999999"`)), "whole number"},
		"EXP for exp":          {f.hs256(header, refreshClaims("exp", "", "EXP", "9999999999")), `"EXP"`},
		"exp twice":            {f.hs256(header, extended(refreshClaims(), `"exp":9999999999`)), "twice"},
		"a claim of no kind":   {f.hs256(header, refreshClaims("role", `"owner"`)), `"role"`},
		"claims twice":         {f.hs256(header, refreshClaims()+"{}"), "something after its end"},
		"an access token":      {f.eddsa(f.header(), accessClaims()), "another kind"},
		"its claims in an at":  {f.hs256(f.header("alg", "HS256", "kid", f.refreshID), refreshClaims()), "another kind"},
		"HS512":                {f.hs256(f.header("alg", "HS512", "typ", "rt+jwt", "kid", f.refreshID), refreshClaims()), "another kind"},
		"EdDSA":                {f.eddsa(f.header("typ", "rt+jwt", "kid", f.refreshID), refreshClaims()), "another kind"},
		"another secret":       {hs256(make([]byte, 32), header, refreshClaims()), "signature"},
		"signature malleated":  {good[:len(good)-1] + malleated(good[len(good)-1]), "not base64url"},
		"for another audience": {f.hs256(header, refreshClaims("aud", `"dashboard"`)), "another audience"},
		"of another issuer":    {f.hs256(header, refreshClaims("iss", `"staging"`)), "another installation"},
		"gen absent":           {f.hs256(header, refreshClaims("gen", "")), `lacks the member "gen"`},
		"gen below 0":          {f.hs256(header, refreshClaims("gen", "-1")), "gen below 0"},
		"gen a string":         {f.hs256(header, refreshClaims("gen", `"1"`)), "whole number"},
		"gen a fraction":       {f.hs256(header, refreshClaims("gen", "1.0")), "whole number"},
		"gen twice":            {f.hs256(header, extended(refreshClaims(), `"gen":9`)), "twice"},
		"sid no UUID":          {f.hs256(header, refreshClaims("sid", `"1"`)), "sid that is not a UUID"},
		"exp absent":           {f.hs256(header, refreshClaims("exp", "")), `lacks the member "exp"`},
		"exp before iat":       {f.hs256(header, refreshClaims("iat", "2", "exp", "1")), "or less"},
		"good for 10 years":    {f.hs256(header, refreshClaims("iat", "1", "exp", "315360000")), "or less"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := signer.ReadRefresh(t.Context(), test.token)
			refused(t, err, "invalid_session", test.detail)
			if got != (identity.Refresh{}) {
				t.Errorf("it says %+v", got)
			}
		})
	}
}

// A key that was removed is as good as any stranger's, whatever it signs.
func TestTokensOfARemovedKeyAreRefused(t *testing.T) {
	t.Parallel()
	old, fresh := newForger(t), newForger(t)
	rotated := map[string]string{
		"ACCESS_PUBLIC_KEYS": join(fresh.settings["ACCESS_PUBLIC_KEYS"], old.settings["ACCESS_PUBLIC_KEYS"]),
		"REFRESH_KEYS":       join(fresh.settings["REFRESH_KEYS"], old.settings["REFRESH_KEYS"]),
	}
	access := old.eddsa(old.header(), accessClaims())
	refresh := old.hs256(old.header("alg", "HS256", "typ", "rt+jwt", "kid", old.refreshID), refreshClaims())
	if _, err := identitytest.Verifier(t, rotated, noon).Access(t.Context(), access); err != nil {
		t.Errorf("the retired key: %v", err)
	}
	if _, err := identitytest.Signer(t, rotated).ReadRefresh(t.Context(), refresh); err != nil {
		t.Errorf("the retired key: %v", err)
	}
	_, err := identitytest.Verifier(t, fresh.settings, noon).Access(t.Context(), access)
	refused(t, err, "invalid_token", "not in use")
	_, err = identitytest.Signer(t, fresh.settings).ReadRefresh(t.Context(), refresh)
	refused(t, err, "invalid_session", "not in use")
}

func TestIssuersDoNotMix(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	settings["ISSUER"] = "staging"
	token := strings.TrimPrefix(identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon), "Bearer ")
	if _, err := identitytest.Verifier(t, settings, noon).Access(t.Context(), token); err != nil {
		t.Error(err)
	}
	delete(settings, "ISSUER")
	_, err := identitytest.Verifier(t, settings, noon).Access(t.Context(), token)
	refused(t, err, "invalid_token", "another installation")
}

// Nobody can sign with these keys but us, so what is accepted must be what we
// made.
func FuzzTokens(f *testing.F) {
	forge := newForger(f)
	access := forge.eddsa(forge.header(), accessClaims())
	refresh := forge.hs256(forge.header("alg", "HS256", "typ", "rt+jwt", "kid", forge.refreshID), refreshClaims())
	for _, seed := range []string{access, refresh, "", ".", "..", "e30.e30.", access + ".", access + "\n", forge.eddsa(forge.header(), "{}")} {
		f.Add(seed)
	}
	verifier, signer := identitytest.Verifier(f, forge.settings, noon), identitytest.Signer(f, forge.settings)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := verifier.Access(t.Context(), text); err == nil && text != access {
			t.Errorf("accepted as an access token: %q", text)
		}
		if _, err := signer.ReadRefresh(context.Background(), text); err == nil && text != refresh {
			t.Errorf("accepted as a refresh token: %q", text)
		}
	})
}

// Every request of a page costs one of these.
//
// It is not parallel: what other tests allocate would be counted.
func TestAccessAllocatesLittle(t *testing.T) {
	const most = 65 // 62 when it was measured
	settings := identitytest.Settings(t)
	token := access(t, settings, noon)
	verifier, ctx := identitytest.Verifier(t, settings, noon), t.Context()
	if got := testing.AllocsPerRun(100, func() { _, _ = verifier.Access(ctx, token) }); got > most {
		t.Errorf("%.0f allocations to check a token, at most %d are allowed", got, most)
	}
	// What comes in any number is refused for less.
	for name, junk := range map[string]string{"no token": "a.b.c", "a megabyte": strings.Repeat("a", 1<<20), "a million dots": strings.Repeat(".", 1<<20)} {
		if got := testing.AllocsPerRun(100, func() { _, _ = verifier.Access(ctx, junk) }); got > 20 {
			t.Errorf("%.0f allocations to refuse %s", got, name)
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	settings := identitytest.Settings(b)
	token := strings.TrimPrefix(identitytest.Bearer(b, settings, uuid.New(), uuid.New(), noon), "Bearer ")
	verifier := identitytest.Verifier(b, settings, noon)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Access(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// Who does not hold the keys cannot tell what a pseudonym stands for.
func TestPseudonymsAreKeyed(t *testing.T) {
	t.Parallel()
	seen := map[[16]byte]string{}
	for _, signer := range []*identity.Signer{identitytest.Signer(t, identitytest.Settings(t)), identitytest.Signer(t, identitytest.Settings(t))} {
		for _, text := range []string{"ada@example.com", "bob@example.com"} {
			for _, purpose := range []string{"account", "another"} {
				names, err := signer.Pseudonyms(t.Context(), purpose, text)
				if err != nil || len(names) != 1 {
					t.Fatal(names, err)
				}
				if before, twice := seen[names[0]]; twice {
					t.Errorf("%s %s is called as %s", purpose, text, before)
				}
				seen[names[0]] = purpose + " " + text
			}
		}
	}
}
