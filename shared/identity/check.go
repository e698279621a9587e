package identity

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// What is checked when a process starts are the keys that stand in the settings
// themselves. References are read by the first request that needs them, and what
// they hold is checked then.

// checkPublic names all that is wrong with the public keys.
func checkPublic(setting func(string) string) []error {
	_, errs := given(setting, publicKeys, publicKey)
	return errs
}

// checkSecret names all that is wrong with the keys that sign, by themselves and
// beside the public ones. Only that a private key fits its public half is left to
// the first use.
func checkSecret(setting func(string) string) []error {
	private, errs := given(setting, signingKeys, sealedKey)
	secret, more := given(setting, refreshKeys, secretKey)
	errs = append(errs, more...)
	public, _ := given(setting, publicKeys, halfKey)
	if _, published := public.byID[private.first.id]; private.first.id != "" && public.byID != nil && !published {
		errs = append(errs, unpublished(private.first))
	}
	// Who knows the one could make the other's tokens.
	for i, k := range secret.order {
		all := slices.Concat(private.order, public.order)
		if same := slices.IndexFunc(all, k.holds); same >= 0 {
			errs = append(errs, fmt.Errorf("%s: key %d has the same bytes as the Ed25519 key %s", refreshKeys, i+1, all[same].id))
		}
	}
	return errs
}

// given parses the keys that a setting holds plainly, if it does.
func given(setting func(string) string, name string, one func(jwk) (key, error)) (keyset, []error) {
	text := setting(name)
	if text == "" || !secrets.Plain(text) {
		return keyset{}, nil
	}
	return parseKeys(name, text, one)
}

// halfKey reads as much of a public key as tells it from others.
func halfKey(j jwk) (key, error) {
	x, err := coordinate(j)
	return key{id: j.thumbprint(), verifies: ed25519.PublicKey(x)}, err
}

// holds tells whether a secret is a half of a sealed key, or of a half one.
func (k key) holds(other key) bool {
	secret := k.signs.([]byte)
	private, _ := other.signs.([]byte)
	return bytes.Equal(secret, private) || bytes.Equal(secret, other.verifies.(ed25519.PublicKey))
}

func unpublished(k key) error {
	return errors.New(signingKeys + ": the first key, " + k.id + ", is not in " + publicKeys + ": publish a key everywhere before it signs")
}
