package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

// The key of RFC 8037, appendix A.
const (
	rfcD = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfcX = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	// Its thumbprint is kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k.
	rfcID = "kPrK_qmxVWaYVA9w"
	rfcK  = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow" // RFC 7515, A.1
)

const (
	rfcPublic  = `{"kty":"OKP","crv":"Ed25519","x":"` + rfcX + `"}`
	rfcPrivate = `{"kty":"OKP","crv":"Ed25519","x":"` + rfcX + `","d":"` + rfcD + `"}`
	rfcSecret  = `{"kty":"oct","k":"` + rfcK + `"}`
)

func set(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func TestKeysAreNamedByTheirThumbprint(t *testing.T) {
	t.Parallel()
	for text, parse := range map[string]func(string) (keyset, error){
		set(rfcPublic): parsePublic, set(rfcPrivate): parsePrivate,
		set(strings.Replace(rfcPublic, "{", `{"kid":"`+rfcID+`","use":"sig","alg":"EdDSA",`, 1)): parsePublic,
	} {
		keys, err := parse(text)
		if err != nil || keys.first.id != rfcID || len(keys.byID) != 1 {
			t.Errorf("%s: %+v, %v", text, keys, err)
		}
	}
	fresh := NewKeys()
	private, err := parsePrivate(set(rfcPrivate, strings.TrimSuffix(strings.TrimPrefix(fresh[signingKeys], `{"keys":[`), "]}")))
	if err != nil || private.first.id != rfcID || len(private.byID) != 2 {
		t.Errorf("the first signs: %+v, %v", private, err)
	}
	secret, err := parseSecret(set(strings.Replace(rfcSecret, "{", `{"alg":"HS256","use":"sig",`, 1)))
	if err != nil || len(secret.first.signs.([]byte)) != 64 {
		t.Errorf("%+v, %v", secret, err)
	}
}

func TestKeysRefused(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	okp := func(x []byte) string { return `{"kty":"OKP","crv":"Ed25519","x":"` + encode(x) + `"}` }
	oct := func(n int) string {
		k := make([]byte, n)
		for i := range k {
			k[i] = byte(i)
		}
		return `{"kty":"oct","k":"` + encode(k) + `"}`
	}
	little := func(low byte, rest byte, high byte) []byte {
		b := make([]byte, 32)
		for i := range b {
			b[i] = rest
		}
		b[0], b[31] = low, high
		return b
	}
	edit := strings.NewReplacer
	var seventeen []string
	for range 17 {
		seventeen = append(seventeen, rfcPublic)
	}
	for name, test := range map[string]struct {
		parse func(string) (keyset, error)
		text  string
		want  string
	}{
		"unset":                      {parsePublic, "", "ACCESS_PUBLIC_KEYS: is not set"},
		"no JSON":                    {parseSecret, "secret", "REFRESH_KEYS: is not a JSON object"},
		"no keys":                    {parsePublic, "{}", `lacks the member "keys"`},
		"an empty set":               {parsePublic, set(), "has 0 keys"},
		"too many":                   {parsePublic, set(seventeen...), "has 17 keys"},
		"keys that are none":         {parsePublic, `{"keys":{}}`, "not an array"},
		"a key that is none":         {parsePublic, set("1"), "key 1: is not a JSON object"},
		"more than keys":             {parsePublic, `{"keys":[],"x":1}`, `"x" that does not belong`},
		"the same twice":             {parsePublic, set(rfcPublic, rfcPublic), "key 2: " + rfcID + " is in the set twice"},
		"the same secret twice":      {parseSecret, set(rfcSecret, rfcSecret), "in the set twice"},
		"a private key, published":   {parsePublic, set(rfcPublic, rfcPrivate), "key 2: holds a secret"},
		"a secret, published":        {parsePublic, set(rfcSecret), "holds a secret"},
		"a public key that signs":    {parsePrivate, set(rfcPublic), `"d" is absent`},
		"a secret for EdDSA":         {parsePrivate, set(rfcSecret), "is not an Ed25519 key"},
		"an EdDSA key for HS256":     {parseSecret, set(rfcPrivate), "is not a key for HS256"},
		"both in one":                {parseSecret, set(edit("{", `{"x":"`+rfcX+`",`).Replace(rfcSecret)), "is not a key for HS256"},
		"RSA":                        {parsePublic, set(`{"kty":"RSA"}`), "is not an Ed25519 key"},
		"X25519":                     {parsePublic, set(edit("Ed25519", "X25519").Replace(rfcPublic)), "is not an Ed25519 key"},
		"of another algorithm":       {parsePublic, set(edit("{", `{"alg":"ES256",`).Replace(rfcPublic)), "is not an Ed25519 key"},
		"HS512":                      {parseSecret, set(edit("{", `{"alg":"HS512",`).Replace(rfcSecret)), "is not a key for HS256"},
		"for encryption":             {parsePublic, set(edit("{", `{"use":"enc",`).Replace(rfcPublic)), `"use" must be "sig"`},
		"of another name":            {parsePublic, set(edit("{", `{"kid":"k1",`).Replace(rfcPublic)), `"kid" must be ` + rfcID},
		"a member unknown":           {parsePublic, set(edit("{", `{"x5c":[],`).Replace(rfcPublic)), `"x5c" that does not belong`},
		"a member twice":             {parsePublic, set(edit("{", `{"kty":"OKP",`).Replace(rfcPublic)), "twice"},
		"no x":                       {parsePublic, set(`{"kty":"OKP","crv":"Ed25519"}`), `"x" is absent`},
		"x padded":                   {parsePublic, set(edit(rfcX, rfcX+"=").Replace(rfcPublic)), `"x" is absent or not base64url`},
		"x malleated":                {parsePublic, set(edit(rfcX, rfcX[:42]+"p").Replace(rfcPublic)), `"x" is absent or not base64url`},
		"x with a line break":        {parsePublic, set(edit(rfcX, rfcX+`\n`).Replace(rfcPublic)), `"x" is absent or not base64url`},
		"x of 31 bytes":              {parsePublic, set(okp(make([]byte, 31))), "not 32 bytes"},
		"x of 33 bytes":              {parsePublic, set(okp(make([]byte, 33))), "not 32 bytes"},
		"the point 0":                {parsePublic, set(okp(make([]byte, 32))), "small order"},
		"the point 1":                {parsePublic, set(okp(little(1, 0, 0))), "small order"},
		"the point 1 with its sign":  {parsePublic, set(okp(little(1, 0, 0x80))), "small order"},
		"the point p-1":              {parsePublic, set(okp(little(0xec, 0xff, 0x7f))), "small order"},
		"p for 0":                    {parsePublic, set(okp(little(0xed, 0xff, 0x7f))), "not a point"},
		"p+1 for 1":                  {parsePublic, set(okp(little(0xee, 0xff, 0xff))), "not a point"},
		"no point":                   {parsePublic, set(okp(little(2, 0, 0))), "not a point"},
		"d of 31 bytes":              {parsePrivate, set(edit(rfcD, rfcD[:41]+"A").Replace(rfcPrivate)), `"d" is not 32 random bytes`},
		"d short":                    {parsePrivate, set(edit(rfcD, rfcD[:40]).Replace(rfcPrivate)), `"d" is not 32 random bytes`},
		"d of zeros":                 {parsePrivate, set(edit(rfcD, encode(make([]byte, 32))).Replace(rfcPrivate)), `"d" is not 32 random bytes`},
		"d of another":               {parsePrivate, set(edit(rfcD, encode([]byte("0123456789abcdefghijklmnopqrstuv"))).Replace(rfcPrivate)), `"x" does not belong to its "d"`},
		"a secret of 31 bytes":       {parseSecret, set(oct(31)), "not 32 to 64 random bytes"},
		"a secret of 65 bytes":       {parseSecret, set(oct(65)), "not 32 to 64 random bytes"},
		"a secret of few characters": {parseSecret, set(`{"kty":"oct","k":"` + encode([]byte("passwordpasswordpasswordpassword")) + `"}`), "not 32 to 64 random bytes"},
		"no secret":                  {parseSecret, set(`{"kty":"oct"}`), `"k" is absent`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := test.parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("want %q, got %v", test.want, err)
			}
			for _, secret := range []string{rfcD, rfcK} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells the secret: %v", err)
				}
			}
		})
	}
	for n, text := range map[int]string{32: oct(32), 64: oct(64)} {
		if _, err := parseSecret(set(text)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// Under a point of small order one signature fits many messages; that is what
// makes these five dangerous, and how this test knows them.
func TestSmallOrder(t *testing.T) {
	t.Parallel()
	var points [][]byte
	for _, y := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			p := y
			p[31] |= sign
			points = append(points, p[:])
		}
	}
	for _, public := range points {
		x := base64.RawURLEncoding.EncodeToString(public)
		if _, err := parsePublic(set(`{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}`)); err == nil || !strings.Contains(err.Error(), "small order") {
			t.Errorf("%x is taken: %v", public, err)
		}
		fits := 0
		for message := range byte(100) {
			for _, r := range points {
				if ed25519.Verify(public, []byte{message}, append(r[:32:32], make([]byte, 32)...)) {
					fits++
				}
			}
		}
		// Of 1 and p-1, whose x is 0, the other sign is no point at all.
		if fits == 0 && public[31]&0x80 == 0 {
			t.Errorf("%x is not of small order", public)
		}
	}
}

func TestOnCurve(t *testing.T) {
	t.Parallel()
	p := fieldOrder()
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	if new(big.Int).SetBytes(curveD[:]).Cmp(d.Mod(d, p)) != 0 {
		t.Errorf("d is %x", d)
	}
	on := 0
	for i := range 256 {
		y := [32]byte{byte(i), 7}
		if onCurve(y) {
			on++
		}
	}
	if on < 90 || on > 166 {
		t.Errorf("%d of 256 are points; half of them should be", on)
	}
	for range 50 {
		keys, err := parsePublic(NewKeys()[publicKeys])
		if err != nil || len(keys.order) != 1 {
			t.Fatalf("a fresh key: %v", err)
		}
	}
}

func TestNewKeysAreFreshAndWhole(t *testing.T) {
	t.Parallel()
	one, other := NewKeys(), NewKeys()
	for name, text := range one {
		if text == other[name] || !json.Valid([]byte(text)) {
			t.Errorf("%s is %s, and %s again", name, text, other[name])
		}
	}
	public, err := parsePublic(one[publicKeys])
	if err != nil {
		t.Fatal(err)
	}
	private, err := parsePrivate(one[signingKeys])
	if err != nil || private.first.id != public.first.id {
		t.Errorf("%v; they are of two pairs", err)
	}
	if _, err := parseSecret(one[refreshKeys]); err != nil {
		t.Error(err)
	}
}

func TestKeysAreParsedAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	parses := 0
	p := parsed{parse: func(text string) (keyset, error) {
		parses++
		return parsePublic(text)
	}}
	for _, step := range []struct {
		text   string
		fails  bool
		parses int
	}{{"", true, 1}, {"", true, 1}, {set(rfcPublic), false, 2}, {set(rfcPublic), false, 2}, {NewKeys()[publicKeys], false, 3}, {"x", true, 4}} {
		if _, err := p.of(step.text); (err != nil) != step.fails || parses != step.parses {
			t.Errorf("%q: %v after %d parses", step.text, err, parses)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, seed := range []string{set(rfcPublic), set(rfcPrivate), set(rfcSecret), set(rfcPublic, rfcSecret), `{"keys":[]}`, `{"keys":[{}]}`, ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if keys, err := parsePublic(text); err == nil {
			for id, k := range keys.byID {
				if k.signs != nil || k.id != id || len(k.verifies.(ed25519.PublicKey)) != 32 {
					t.Errorf("%q holds the public key %+v", text, k)
				}
			}
		}
		if keys, err := parsePrivate(text); err == nil {
			message := []byte("m")
			if !ed25519.Verify(keys.first.verifies.(ed25519.PublicKey), message, ed25519.Sign(keys.first.signs.(ed25519.PrivateKey), message)) {
				t.Errorf("%q holds a key that does not fit itself", text)
			}
		}
		if keys, err := parseSecret(text); err == nil && len(keys.first.signs.([]byte)) < secretLeast {
			t.Errorf("%q holds a short secret", text)
		}
	})
}

// What is read strictly means the same to everybody who reads it.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"s":"x","n":1}`, `{"s":"\u0041","n":-0}`, `{"n":1,"n":2,"s":""}`, `{"S":"x"}`, `{"s":"x","n":1}{}`, `{"s":"\ud800","n":9223372036854775807}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s string
		var n int64
		if (object{"s": &s, "n": &n}).readWhole(text) != nil {
			return
		}
		var lax struct {
			S string `json:"s"`
			N int64  `json:"n"`
		}
		if err := json.Unmarshal(text, &lax); err != nil || lax.S != s || lax.N != n {
			t.Errorf("%q is %q, %d to us and %+v, %v to encoding/json", text, s, n, lax, err)
		}
	})
}

// The check is part of every start.
func BenchmarkCheck(b *testing.B) {
	keys := NewKeys()
	setting := func(name string) string { return keys[name] }
	b.ReportAllocs()
	for b.Loop() {
		if errs := append(checkPublic(setting), checkSecret(setting)...); errs != nil {
			b.Fatal(errs)
		}
	}
}
