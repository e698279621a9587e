package access

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"strings"
)

// A secret of ours is a prefix, random characters, and a checksum by which secret
// scanners tell it from a word, and we refuse a typing error without asking
// anybody. It is not kept; see Digest.
const (
	TokenPrefix = "dd_pat_" // of an API token
	LinkPrefix  = "dd_lnk_" // of a link that is good once

	secretRandom   = 30 // characters of base 62: 178 bits
	secretChecksum = 6  // enough for 32 bits
)

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewSecret returns a new secret with a prefix.
func NewSecret(prefix string) string {
	most := new(big.Int).Exp(big.NewInt(int64(len(digits))), big.NewInt(secretRandom), nil)
	n, _ := rand.Int(rand.Reader, most) // never fails since Go 1.24
	random := base62(n, secretRandom)
	return prefix + random + checksum(random)
}

// IsSecret tells whether text begins with the prefix of a secret, and whether it is
// whole, as far as its checksum says.
func IsSecret(prefix, text string) (form, whole bool) {
	rest, form := strings.CutPrefix(text, prefix)
	if !form || len(rest) != secretRandom+secretChecksum || strings.Trim(rest, digits) != "" {
		return form, false
	}
	return true, checksum(rest[:secretRandom]) == rest[secretRandom:]
}

func checksum(random string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(random)))), secretChecksum)
}

// base62 writes n with so many digits, in which it must have room.
func base62(n *big.Int, width int) string {
	text := make([]byte, width)
	base, digit := big.NewInt(int64(len(digits))), new(big.Int)
	for i := range text {
		n, digit = new(big.Int).QuoRem(n, base, digit)
		text[width-1-i] = digits[digit.Int64()]
	}
	return string(text)
}
