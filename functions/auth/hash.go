package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// cost is what one argon2id hash takes.
type cost struct {
	memory  uint32 // KiB
	time    uint32 // passes over the memory
	threads uint8
}

// today is the cost of new hashes: the least that OWASP recommends, about 25 ms
// on one processor. A hash of another cost is replaced at the next sign-in.
var today = cost{memory: 19456, time: 2, threads: 1}

// Stored hashes may come from elsewhere; what they may cost at most is bounded
// before anything is computed.
var dearest = cost{memory: 64 << 10, time: 8, threads: 4}

const (
	saltBytes    = 16
	keyBytes     = 32
	bcryptMost   = 13 // cost, about half a second
	bcryptPrefix = "$2"
)

// hash is a stored argon2id hash, in the PHC format
// $argon2id$v=19$m=19456,t=2,p=1$salt$key.
type hash struct {
	cost
	salt, key []byte
}

var phcBase64 = base64.RawStdEncoding.Strict()

func (h hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		phcBase64.EncodeToString(h.salt), phcBase64.EncodeToString(h.key))
}

var errHash = errors.New("the stored password hash is not one that can be checked")

// parseHash reads the one spelling that String writes.
func parseHash(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return hash{}, errHash
	}
	var h hash
	for _, parameter := range strings.Split(parts[3], ",") {
		name, value, _ := strings.Cut(parameter, "=")
		n, _ := strconv.ParseUint(value, 10, 32)
		switch name {
		case "m":
			h.memory = uint32(n)
		case "t":
			h.time = uint32(n)
		case "p":
			h.threads = uint8(min(n, 255))
		}
	}
	h.salt, _ = phcBase64.DecodeString(parts[4])
	h.key, _ = phcBase64.DecodeString(parts[5])
	if h.String() != text || !h.bounded() {
		return hash{}, errHash
	}
	return h, nil
}

// bounded tells whether the hash can be computed, and for a price.
func (h hash) bounded() bool {
	return h.time >= 1 && h.time <= dearest.time &&
		h.threads >= 1 && h.threads <= dearest.threads &&
		h.memory >= 8*uint32(h.threads) && h.memory <= dearest.memory &&
		len(h.salt) >= 8 && len(h.salt) <= 64 && len(h.key) >= 16 && len(h.key) <= 64
}

func (h hash) fits(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// newHash returns the hash to store for a password.
func newHash(password string) string {
	h := hash{cost: today, salt: make([]byte, saltBytes)}
	_, _ = rand.Read(h.salt) // never fails since Go 1.24
	h.key = argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, keyBytes)
	return h.String()
}

// dummyHash returns a hash that fits no password anybody could find, and costs what today's do.
func dummyHash() string {
	return hash{cost: today, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}.String()
}

// checkHash tells whether a password belongs to a stored hash, argon2id or, from
// before, bcrypt.
func checkHash(password, stored string) (bool, error) {
	if strings.HasPrefix(stored, bcryptPrefix) {
		return checkBcrypt(password, stored)
	}
	h, err := parseHash(stored)
	if err != nil {
		return false, err
	}
	return h.fits(password), nil
}

func checkBcrypt(password, stored string) (bool, error) {
	dear, err := bcrypt.Cost([]byte(stored))
	if err != nil || dear > bcryptMost {
		return false, errHash
	}
	err = bcrypt.CompareHashAndPassword([]byte(stored), []byte(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

// isCurrent tells whether a stored hash is as newHash makes them.
func isCurrent(stored string) bool {
	h, err := parseHash(stored)
	return err == nil && h.cost == today && len(h.salt) == saltBytes && len(h.key) == keyBytes
}
