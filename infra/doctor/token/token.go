// Package token reads the token that GitHub gives a workflow's job, or makes the
// claims of one for a scenario. Judging it is left to package diagnosis. Nothing
// here prints or keeps a token: once read, only its claims are handed on.
package token

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Most is more than any token or file of claims is long.
const Most = 64 << 10

// Issuer is who signs the tokens of github.com.
const Issuer = "https://token.actions.githubusercontent.com"

// Token is what was read: the claims, and of a whole token its head.
type Token struct {
	Claims Claims
	Head   *Head // nil where claims were given, which nobody has signed

	signed    []byte
	signature []byte
}

// Head is a token's header.
type Head struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
}

// Parse reads a token, or its claims as JSON. Its errors repeat nothing of a token.
func Parse(text []byte) (Token, error) {
	if len(text) > Most {
		return Token{}, fmt.Errorf("longer than %d KiB: no token of GitHub is", Most>>10)
	}
	text = bytes.TrimSpace(text)
	if len(text) > 7 && strings.EqualFold(string(text[:7]), "bearer ") {
		text = bytes.TrimSpace(text[7:])
	}
	if bytes.HasPrefix(text, []byte("{")) {
		if whole := answered(text); whole != "" {
			return Parse([]byte(whole))
		}
		claims, err := parseClaims(text)
		return Token{Claims: claims}, err
	}
	parts := bytes.Split(text, []byte("."))
	switch {
	case len(text) == 0:
		return Token{}, errors.New("empty: the step that should print the token printed nothing")
	case bytes.HasPrefix(text, []byte("ya29.")):
		return Token{}, errors.New("this is Google's access token, so the exchange worked: what is asked for is the token that GitHub gave the job")
	case bytes.HasPrefix(text, []byte("gh")) && len(parts) == 1:
		return Token{}, errors.New("this is a GITHUB_TOKEN or a personal one: what is asked for is the token from $ACTIONS_ID_TOKEN_REQUEST_URL")
	case bytes.Equal(text, []byte("***")):
		return Token{}, errors.New("GitHub's log has masked the token: print its claims, without the signature, and give those")
	case len(parts) != 3:
		return Token{}, fmt.Errorf("a token has three parts between dots, this has %d", len(parts))
	}
	var head Head
	if err := part(parts[0], &head); err != nil {
		return Token{}, fmt.Errorf("its first part is no header: %w", err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(parts[1], "=")))
	if err != nil {
		return Token{}, errors.New("its second part is not base64url; was it cut when it was copied?")
	}
	claims, err := parseClaims(payload)
	if err != nil {
		return Token{}, err
	}
	signature, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(parts[2], "=")))
	if err != nil {
		return Token{}, errors.New("its third part, the signature, is not base64url; was it cut when it was copied?")
	}
	return Token{claims, &head, bytes.Join(parts[:2], []byte(".")), signature}, nil
}

// answered is the token in what $ACTIONS_ID_TOKEN_REQUEST_URL answers, where the text
// is that: an object with a value, and without claims.
func answered(text []byte) string {
	var answer struct {
		Value  string           `json:"value"`
		Issuer *json.RawMessage `json:"iss"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Issuer != nil || strings.HasPrefix(strings.TrimSpace(answer.Value), "{") {
		return ""
	}
	return answer.Value
}

func part(text []byte, into any) error {
	decoded, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(text, "=")))
	if err != nil {
		return errors.New("not base64url")
	}
	if json.Unmarshal(decoded, into) != nil {
		return errors.New("not JSON")
	}
	return nil
}

// Verify checks a token's signature against a set of keys, such as stands at
// /.well-known/jwks of the issuer.
func (t Token) Verify(jwks []byte) error {
	if t.Head == nil {
		return errors.New("these are claims alone, and nobody has signed them")
	}
	if t.Head.Algorithm != "RS256" {
		return fmt.Errorf("the token says it is signed by %q, and GitHub signs by RS256", t.Head.Algorithm)
	}
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
			N  string `json:"n"`
			E  string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil || len(set.Keys) == 0 {
		return fmt.Errorf("the file of keys holds none: fetch %s/.well-known/jwks", Issuer)
	}
	for _, key := range set.Keys {
		if key.ID != t.Head.KeyID {
			continue
		}
		n, errN := base64.RawURLEncoding.DecodeString(key.N)
		e, errE := base64.RawURLEncoding.DecodeString(key.E)
		exponent := new(big.Int).SetBytes(e)
		if errN != nil || errE != nil || len(n) == 0 || !exponent.IsInt64() || exponent.Int64() < 2 || exponent.Int64() > math.MaxInt32 {
			return fmt.Errorf("the key %q in the file is no RSA key", key.ID)
		}
		hash := sha256.Sum256(t.signed)
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], t.signature) != nil {
			return fmt.Errorf("the signature is not that of key %q: the token was changed, or cut when it was copied", key.ID)
		}
		return nil
	}
	return fmt.Errorf("the token is signed by key %q, which is not in the file: the file is old, or the token is not of this issuer", t.Head.KeyID)
}
