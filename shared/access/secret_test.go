package access_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/access"
)

func TestASecretIsTakenAsItWasMade(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		secret := access.NewSecret(access.TokenPrefix)
		if form, whole := access.IsSecret(access.TokenPrefix, secret); !form || !whole || len(secret) != len(access.TokenPrefix)+36 || seen[secret] {
			t.Fatalf("%s: %v, %v", secret, form, whole)
		}
		if form, whole := access.IsSecret(access.LinkPrefix, secret); form || whole {
			t.Fatalf("%s is taken for a link", secret)
		}
		seen[secret] = true
	}
	// As others compute the checksum: CRC-32 of the 30 characters, in base 62, padded.
	// The value is of Python's binascii.crc32.
	if _, whole := access.IsSecret(access.TokenPrefix, access.TokenPrefix+"000000000000000000000000000000"+"2C8GjS"); !whole {
		t.Error("the checksum is another than CRC-32 in base 62")
	}
}

func TestAChangedSecretIsRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := access.NewSecret(access.TokenPrefix)
		i := rapid.IntRange(len(access.TokenPrefix), len(secret)-1).Draw(t, "place")
		c := rapid.SampledFrom([]byte("0aZ9-_ \x00é")).Draw(t, "character")
		changed := secret[:i] + string(c) + secret[i+1:]
		if _, whole := access.IsSecret(access.TokenPrefix, changed); whole != (changed == secret) {
			t.Fatalf("%s for %s: %v", changed, secret, whole)
		}
		for _, other := range []string{secret[:i], secret + string(c), strings.ToUpper(secret), " " + secret} {
			if _, whole := access.IsSecret(access.TokenPrefix, other); whole {
				t.Fatalf("%q is taken", other)
			}
		}
	})
}
