package identity

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// source is the key set in one setting.
type source struct {
	value *secrets.Value
	keys  parsed
}

func parsePublic(text string) (keyset, error)  { return parseSet(publicKeys, text, publicKey) }
func parsePrivate(text string) (keyset, error) { return parseSet(signingKeys, text, privateKey) }
func parseSecret(text string) (keyset, error)  { return parseSet(refreshKeys, text, secretKey) }

func parseSet(setting, text string, one func(jwk) (key, error)) (keyset, error) {
	set, errs := parseKeys(setting, text, one)
	return set, errors.Join(errs...)
}

// get returns the keys. Its faults are Unavailable.
func (s *source) get(ctx context.Context) (keyset, error) { return s.usable(s.value.Get(ctx)) }

// named returns the key of that id. One that is not known may have been published
// since the set was read, so the set is read again where that was not tried just
// now: ids come from anybody, and Secret Manager must not be asked for each.
func (s *source) named(ctx context.Context, id string) (k key, known bool, err error) {
	keys, err := s.get(ctx)
	if err != nil {
		return key{}, false, err
	}
	if k, known = keys.byID[id]; known {
		return k, true, nil
	}
	if keys, err = s.usable(s.value.Recent(ctx)); err != nil {
		return key{}, false, err
	}
	k, known = keys.byID[id]
	return k, known, nil
}

func (s *source) usable(text string, err error) (keyset, error) {
	if err != nil {
		return keyset{}, err
	}
	keys, err := s.keys.of(text)
	if err != nil {
		return keyset{}, unusable(err)
	}
	return keys, nil
}

// parsed remembers what a setting's text was parsed to until the text changes,
// as a secret's does when it is rotated.
type parsed struct {
	parse func(text string) (keyset, error)
	last  atomic.Pointer[parsing]
}

type parsing struct {
	text string
	set  keyset
	err  error
}

func (p *parsed) of(text string) (keyset, error) {
	last := p.last.Load()
	if last == nil || last.text != text {
		last = &parsing{text: text}
		last.set, last.err = p.parse(text)
		p.last.Store(last)
	}
	return last.set, last.err
}
