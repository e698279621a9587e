package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A key goes through three states by its place in a set: it is published while it
// stands behind the first, signs once it is the first, and is retired when another
// has taken its place; then it is removed. Everybody who checks tokens knows it in
// all three.

// KeyKind is one of the two kinds of set that sign.
type KeyKind struct {
	setting string
	one     func(jwk) (key, error)
	fresh   func() key
}

// The kinds: what ACCESS_SIGNING_KEYS and REFRESH_KEYS hold.
var (
	AccessKeys  = KeyKind{signingKeys, privateKey, freshPrivate}
	RefreshKeys = KeyKind{refreshKeys, secretKey, freshSecret}
)

// KeySet is a set that signs, in the hands of its operator. It has no state that
// its text does not have.
type KeySet struct {
	kind KeyKind
	keys []key
}

// New returns a set of one fresh key.
func (k KeyKind) New() KeySet { return KeySet{k, []key{k.fresh()}} }

// Read reads the set as it stands in its setting.
func (k KeyKind) Read(text string) (KeySet, error) {
	set, errs := parseKeys(k.setting, text, k.one)
	return KeySet{k, set.order}, errors.Join(errs...)
}

// Publish returns the set with a fresh key that does not sign yet, and its id.
func (s KeySet) Publish() (KeySet, string, error) {
	if len(s.keys) >= keysMost {
		return s, "", fmt.Errorf("%s: has %d keys, as many as there may be: retire one", s.kind.setting, keysMost)
	}
	k := s.kind.fresh()
	return KeySet{s.kind, append(slices.Clip(s.keys), k)}, k.id, nil
}

// Sign returns the set with that key in the first place, where it signs.
func (s KeySet) Sign(id string) (KeySet, error) {
	i, err := s.find(id)
	if err != nil {
		return s, err
	}
	rest := slices.Delete(slices.Clone(s.keys), i, i+1)
	return KeySet{s.kind, slices.Insert(rest, 0, s.keys[i])}, nil
}

// Retire returns the set without that key, which must not be the one that signs.
func (s KeySet) Retire(id string) (KeySet, error) {
	i, err := s.find(id)
	if err != nil {
		return s, err
	}
	if i == 0 {
		return s, fmt.Errorf("%s: %s signs; have another key sign first", s.kind.setting, id)
	}
	return KeySet{s.kind, slices.Delete(slices.Clone(s.keys), i, i+1)}, nil
}

func (s KeySet) find(id string) (int, error) {
	i := slices.IndexFunc(s.keys, func(k key) bool { return k.id == id })
	if i < 0 {
		return 0, fmt.Errorf("%s: has no key %q, but %s", s.kind.setting, id, strings.Join(s.IDs(), ", "))
	}
	return i, nil
}

// IDs returns the ids of the keys; the first one signs.
func (s KeySet) IDs() []string {
	var ids []string
	for _, k := range s.keys {
		ids = append(ids, k.id)
	}
	return ids
}

// String is what may be seen of the set.
func (s KeySet) String() string { return strings.Join(s.IDs(), " ") }

// Secret returns the set as it stands in its setting.
func (s KeySet) Secret() string {
	var keys []keyText
	for _, k := range s.keys {
		keys = append(keys, k.text())
	}
	return setText(keys)
}

// Public returns the public halves of a set for access tokens, as they stand in
// ACCESS_PUBLIC_KEYS. It panics on the other kind, which has none.
func (s KeySet) Public() string {
	var keys []PublicKey
	for _, k := range s.keys {
		keys = append(keys, k.public())
	}
	return setText(keys)
}

// keyText is a secret key as JSON.
type keyText struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	D         string `json:"d,omitempty"`
	K         string `json:"k,omitempty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func (k key) text() keyText {
	encode := base64.RawURLEncoding.EncodeToString
	if private, ok := k.signs.(ed25519.PrivateKey); ok {
		p := k.public()
		return keyText{KeyType: p.KeyType, Curve: p.Curve, X: p.X, D: encode(private.Seed()), ID: p.ID, Use: p.Use, Algorithm: p.Algorithm}
	}
	return keyText{KeyType: "oct", K: encode(k.signs.([]byte)), ID: k.id, Use: "sig", Algorithm: "HS256"}
}

func setText(keys any) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err) // strings alone
	}
	return string(text)
}

func freshPrivate() key {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails since Go 1.24
	private := ed25519.NewKeyFromSeed(seed)
	k := key{verifies: private.Public(), signs: private}
	k.id = jwk{kty: "OKP", crv: "Ed25519", x: k.public().X}.thumbprint()
	return k
}

func freshSecret() key {
	secret := make([]byte, secretLeast)
	_, _ = rand.Read(secret)
	return key{id: jwk{kty: "oct", k: base64.RawURLEncoding.EncodeToString(secret)}.thumbprint(), verifies: secret, signs: secret}
}

// NewKeys returns fresh keys as the values of the settings that hold them, by
// the settings' names.
func NewKeys() map[string]string {
	access := AccessKeys.New()
	return map[string]string{
		publicKeys:  access.Public(),
		signingKeys: access.Secret(),
		refreshKeys: RefreshKeys.New().Secret(),
	}
}
