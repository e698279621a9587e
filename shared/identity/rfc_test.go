package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// vector is an example that an RFC prints.
type vector struct {
	Source     string            `json:"source"`
	Algorithm  string            `json:"alg"`
	Key        map[string]string `json:"key"`
	JWS        string            `json:"jws"`
	Thumbprint string            `json:"thumbprint"`
}

func vectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/rfc.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 7 {
		t.Fatalf("%d vectors, %v", len(all), err)
	}
	return all
}

// text is the key without the name that its RFC chose for it.
func (v vector) text(t *testing.T, without ...string) string {
	t.Helper()
	bare := map[string]string{}
	for name, value := range v.Key {
		bare[name] = value
	}
	for _, name := range append(without, "kid") {
		delete(bare, name)
	}
	text, err := json.Marshal(bare)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What we sign with and check with is what the RFCs mean, where the algorithm is
// one of ours; and the examples of the others are no misprints.
func TestSignaturesAreThoseOfTheRFCs(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Source, func(t *testing.T) {
			t.Parallel()
			if v.JWS == "" {
				return
			}
			last := strings.LastIndexByte(v.JWS, '.')
			signed, signature := v.JWS[:last], decoded(t, v.JWS[last+1:])
			var method jwt.SigningMethod
			var verifies any
			switch v.Algorithm {
			case "HS256":
				set, err := parseSecret(set(v.text(t)))
				if err != nil {
					t.Fatal(err)
				}
				method, verifies = refreshForm.method, set.first.verifies
				if again, err := method.Sign(signed, set.first.signs); err != nil || string(again) != string(signature) {
					t.Errorf("we sign it %x, %v", again, err)
				}
			case "EdDSA":
				private, err := parsePrivate(set(v.text(t)))
				if err != nil {
					t.Fatal(err)
				}
				public, err := parsePublic(set(v.text(t, "d")))
				if err != nil || public.first.id != private.first.id {
					t.Fatalf("%s and %s, %v", public.first.id, private.first.id, err)
				}
				method, verifies = accessForm.method, public.first.verifies
				if again, err := method.Sign(signed, private.first.signs); err != nil || string(again) != string(signature) {
					t.Errorf("we sign it %x, %v", again, err)
				}
			case "ES256":
				method, verifies = jwt.SigningMethodES256, point(t, elliptic.P256(), v)
			case "ES512":
				method, verifies = jwt.SigningMethodES512, point(t, elliptic.P521(), v)
			default:
				if v.Algorithm != "none" || len(signature) != 0 {
					t.Errorf("nobody knows %s", v.Algorithm)
				}
				return
			}
			if err := method.Verify(signed, signature, verifies); err != nil {
				t.Error(err)
			}
			signature[0] ^= 1
			if method.Verify(signed, signature, verifies) == nil {
				t.Error("another signature fits as well")
			}
		})
	}
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func point(t *testing.T, curve elliptic.Curve, v vector) *ecdsa.PublicKey {
	t.Helper()
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, decoded(t, v.Key["x"]), decoded(t, v.Key["y"])))
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestThumbprintsAreThoseOfTheRFCs(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, v := range vectors(t) {
		if v.Thumbprint == "" {
			continue
		}
		seen++
		got := ""
		switch v.Key["kty"] {
		case "RSA":
			got = thumbprint(`{"e":"` + v.Key["e"] + `","kty":"RSA","n":"` + v.Key["n"] + `"}`)
		case "OKP":
			got = thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"` + v.Key["x"] + `"}`)
			public, err := parsePublic(set(v.text(t, "d")))
			if err != nil || public.first.id != v.Thumbprint[:16] {
				t.Errorf("%s: the key is named %s, %v", v.Source, public.first.id, err)
			}
		}
		if got != v.Thumbprint {
			t.Errorf("%s: %s, want %s", v.Source, got, v.Thumbprint)
		}
	}
	if seen != 2 {
		t.Errorf("%d thumbprints", seen)
	}
}

// A valid signature by a key that we hold does not make a token of ours.
func TestExamplesOfTheRFCsAreNoTokens(t *testing.T) {
	t.Parallel()
	var secrets []string
	settings := map[string]string{}
	for _, v := range vectors(t) {
		switch v.Algorithm {
		case "HS256":
			secrets = append(secrets, v.text(t))
		case "EdDSA":
			settings[signingKeys], settings[publicKeys] = set(v.text(t)), set(v.text(t, "d"))
		}
	}
	settings[refreshKeys] = set(secrets...)
	// The day on which the claims of RFC 7515 are good.
	env := function.NewEnv(slog.New(slog.DiscardHandler), func() time.Time { return time.Unix(1300819380-60, 0) }, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}).For(function.Function{Name: "rfc", Needs: []function.Need{VerifyNeed, SignNeed}})
	verifier, signer := VerifierFor(env), SignerFor(env)
	for _, v := range vectors(t) {
		if v.JWS == "" {
			continue
		}
		if _, err := verifier.Access(t.Context(), v.JWS); err == nil || fault.From(err).Code != "invalid_token" {
			t.Errorf("%s as an access token: %v", v.Source, err)
		}
		if _, err := signer.ReadRefresh(t.Context(), v.JWS); err == nil || fault.From(err).Code != "invalid_session" {
			t.Errorf("%s as a refresh token: %v", v.Source, err)
		}
	}
}
