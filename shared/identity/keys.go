package identity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// A key set is the text of a JWK set (RFC 7517) as it stands in a setting.
// The kid of a key is derived from the key (RFC 7638), never chosen, so two keys
// cannot share one and a kid cannot name anything else.

const (
	secretLeast = 32 // bytes: as long as the HMAC's output
	secretMost  = 64 // bytes: one block of SHA-256; more adds nothing
	keysMost    = 16 // in one set
	kidLength   = 16 // characters of the thumbprint
)

// key is one key of a set. A public key signs nothing.
type key struct {
	id       string
	verifies any // as golang-jwt wants it
	signs    any
}

// keyset holds the keys of one setting by their ids; the first one signs.
type keyset struct {
	first key
	byID  map[string]key
	order []key
}

// jwk is a key as JSON: the members that our keys have, and no others.
type jwk struct {
	kty, crv, x, d, k, kid, use, alg string
}

// parseKeys reads the set in the named setting, each key by one, and says all that
// is wrong with it: each error names the setting and the key at fault, and repeats
// nothing that may be secret. What is right is returned beside the errors.
func parseKeys(setting, text string, one func(jwk) (key, error)) (set keyset, errs []error) {
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf(setting+": "+format, args...))
	}
	var raw []json.RawMessage
	if text == "" {
		fail("is not set")
	} else if err := (object{"keys": &raw}).readWhole([]byte(text)); err != nil {
		fail("%w", err)
	} else if len(raw) == 0 || len(raw) > keysMost {
		fail("has %d keys; give 1 to %d", len(raw), keysMost)
	}
	if errs != nil {
		return keyset{}, errs
	}
	set.byID = make(map[string]key, len(raw))
	for i, text := range raw {
		k, err := parseKey(text, one)
		if err != nil {
			fail("key %d: %w", i+1, err)
			continue
		}
		if _, twice := set.byID[k.id]; twice {
			fail("key %d: %s is in the set twice", i+1, k.id)
			continue
		}
		set.byID[k.id] = k
		set.order = append(set.order, k)
		if i == 0 {
			set.first = k
		}
	}
	return set, errs
}

func parseKey(text []byte, one func(jwk) (key, error)) (key, error) {
	var j jwk
	_, err := object{
		"kty": &j.kty, "crv": &j.crv, "x": &j.x, "d": &j.d, "k": &j.k, "kid": &j.kid, "use": &j.use, "alg": &j.alg,
	}.read(text)
	if err != nil {
		return key{}, err
	}
	k, err := one(j)
	switch {
	case err != nil:
		return key{}, err
	case j.use != "" && j.use != "sig":
		return key{}, errors.New(`is not for signatures: "use" must be "sig"`)
	case j.kid != "" && j.kid != k.id:
		return key{}, fmt.Errorf(`its "kid" must be %s, the start of its thumbprint, or absent`, k.id)
	}
	return k, nil
}

// publicKey reads an Ed25519 public key and refuses one that comes with more.
func publicKey(j jwk) (key, error) {
	if j.d != "" || j.k != "" {
		return key{}, errors.New("holds a secret; this setting is for public keys and is not kept secret, so replace that key")
	}
	x, err := coordinate(j)
	if err != nil {
		return key{}, err
	}
	if err := provesSomething(x); err != nil {
		return key{}, err
	}
	return key{id: j.thumbprint(), verifies: ed25519.PublicKey(x)}, nil
}

// privateKey reads an Ed25519 private key (RFC 8037).
func privateKey(j jwk) (key, error) {
	k, err := sealedKey(j)
	if err != nil {
		return key{}, err
	}
	private := ed25519.NewKeyFromSeed(k.signs.([]byte)) // whose public half is a point that proves something
	if !private.Public().(ed25519.PublicKey).Equal(k.verifies) {
		return key{}, errors.New(`its "x" does not belong to its "d"`)
	}
	k.signs = private
	return k, nil
}

// sealedKey reads a private key without computing with it: the first computation
// takes longer than all the rest that is checked at a start. It signs nothing.
func sealedKey(j jwk) (key, error) {
	x, err := coordinate(j)
	if err != nil {
		return key{}, err
	}
	seed, err := decode("d", j.d)
	if err != nil {
		return key{}, err
	}
	if len(seed) != ed25519.SeedSize || guessable(seed) {
		return key{}, fmt.Errorf(`its "d" is not %d random bytes`, ed25519.SeedSize)
	}
	return key{id: j.thumbprint(), verifies: ed25519.PublicKey(x), signs: seed}, nil
}

// secretKey reads a key for HMAC-SHA256.
func secretKey(j jwk) (key, error) {
	if j.kty != "oct" || j.crv+j.x+j.d != "" || j.alg != "" && j.alg != "HS256" {
		return key{}, errors.New(`is not a key for HS256: "kty" must be "oct"`)
	}
	secret, err := decode("k", j.k)
	if err != nil {
		return key{}, err
	}
	if len(secret) < secretLeast || len(secret) > secretMost || guessable(secret) {
		return key{}, fmt.Errorf(`its "k" is not %d to %d random bytes`, secretLeast, secretMost)
	}
	return key{id: j.thumbprint(), verifies: secret, signs: secret}, nil
}

// decode reads unpadded base64url in its one canonical form.
func decode(member, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text == "" || base64.RawURLEncoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("its %q is absent or not base64url", member)
	}
	return b, nil
}

// guessable tells whether bytes are certainly not random: 32 random ones have 30
// different values and fewer than 16 less than once in 10^20 times.
func guessable(b []byte) bool {
	sorted := slices.Sorted(slices.Values(b))
	return len(slices.Compact(sorted)) < 16
}

// thumbprint is the start of the key's RFC 7638 thumbprint.
func (j jwk) thumbprint() string {
	if j.kty == "oct" {
		return thumbprint(`{"k":"` + j.k + `","kty":"oct"}`)[:kidLength]
	}
	return thumbprint(`{"crv":"` + j.crv + `","kty":"` + j.kty + `","x":"` + j.x + `"}`)[:kidLength]
}

// thumbprint is the RFC 7638 thumbprint of a key, given its required members in
// lexical order.
func thumbprint(members string) string {
	sum := sha256.Sum256([]byte(members))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// smallOrder are the y coordinates of the eight points under which one signature
// fits any message, little-endian, without the sign bit of x.
var smallOrder = [][32]byte{
	{},
	{1},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
}

// coordinate returns the public half of an OKP key, point or not.
func coordinate(j jwk) ([]byte, error) {
	if j.kty != "OKP" || j.crv != "Ed25519" || j.k != "" || j.alg != "" && j.alg != "EdDSA" {
		return nil, errors.New(`is not an Ed25519 key: "kty" must be "OKP" and "crv" "Ed25519"`)
	}
	x, err := decode("x", j.x)
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf(`its "x" is not %d bytes`, ed25519.PublicKeySize)
	}
	return x, nil
}

// provesSomething checks that a public key is a point of edwards25519 in its one
// encoding and not of small order.
func provesSomething(x []byte) error {
	y := [32]byte(x)
	y[31] &= 0x7f
	if slices.Contains(smallOrder, y) {
		return errors.New(`its "x" is a point of small order, which proves nothing`)
	}
	if !onCurve(y) {
		return errors.New(`its "x" is not a point of the curve`)
	}
	return nil
}

// curveD is the d of the curve, -121665/121666 modulo p, big-endian: at each
// start the division would cost more than the rest of the check.
var curveD = [32]byte{
	0x52, 0x03, 0x6c, 0xee, 0x2b, 0x6f, 0xfe, 0x73, 0x8c, 0xc7, 0x40, 0x79, 0x77, 0x79, 0xe8, 0x98,
	0x00, 0x70, 0x0a, 0x4d, 0x41, 0x41, 0xd8, 0xab, 0x75, 0xeb, 0x4d, 0xca, 0x13, 0x59, 0x78, 0xa3,
}

func fieldOrder() *big.Int {
	return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
}

// onCurve tells whether some x has -x²+y² = 1+dx²y² modulo p = 2²⁵⁵-19, that is,
// whether (y²-1)/(dy²+1) is a square, and whether y is below p.
func onCurve(y [32]byte) bool {
	slices.Reverse(y[:])
	p, n, d := fieldOrder(), new(big.Int).SetBytes(y[:]), new(big.Int).SetBytes(curveD[:])
	if n.Cmp(p) >= 0 {
		return false
	}
	square := new(big.Int).Mul(n, n)
	over := new(big.Int).Sub(square, big.NewInt(1))
	under := new(big.Int).Add(square.Mul(square, d), big.NewInt(1))
	// A quotient is a square when the product is.
	return big.Jacobi(over.Mod(over.Mul(over, under), p), p) >= 0
}

// PublicKey is a public key as RFC 8037 writes it.
type PublicKey struct {
	KeyType   string `json:"kty" example:"OKP"`
	Curve     string `json:"crv" example:"Ed25519"`
	X         string `json:"x" doc:"The key, base64url."`
	ID        string `json:"kid" doc:"The start of the key's RFC 7638 thumbprint."`
	Use       string `json:"use" example:"sig"`
	Algorithm string `json:"alg" example:"EdDSA"`
}

func (k key) public() PublicKey {
	x := base64.RawURLEncoding.EncodeToString(k.verifies.(ed25519.PublicKey))
	return PublicKey{KeyType: "OKP", Curve: "Ed25519", X: x, ID: k.id, Use: "sig", Algorithm: "EdDSA"}
}
