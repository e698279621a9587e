package auth

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// address is an e-mail address: as its owner writes it, and as the key under
// which Ada@Example.com and ada@example.com are one account.
type address struct {
	written string
	key     string
}

// The lengths that mail allows (RFC 5321, section 4.5.3.1), in bytes.
const (
	addressMost = 254
	localMost   = 64
)

// parseAddress reads local@domain: the local part a dot-atom, also of letters
// beyond ASCII (RFC 6531), the domain a name. Quoted local parts, comments and
// address literals are refused: nobody has one.
func parseAddress(text string) (address, error) {
	if len(text) > addressMost {
		return address{}, errors.New("must have at most 254 bytes")
	}
	local, domain, ok := strings.Cut(text, "@")
	if !ok || !utf8.ValidString(text) || !dotAtom(local) {
		return address{}, errors.New("must be an e-mail address, like ada@example.com")
	}
	ascii, err := domains().ToASCII(norm.NFC.String(domain))
	if err != nil || ascii == "" {
		return address{}, errors.New("must be an e-mail address whose part after the @ is a domain, like example.com")
	}
	key := fold(local) + "@" + ascii
	if len(key) > addressMost {
		return address{}, errors.New("must have at most 254 bytes")
	}
	return address{written: text, key: key}, nil
}

// fold returns text without the difference of cases and of spellings that look
// the same (Unicode, definition D145).
func fold(text string) string {
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(text)))
}

// domains is made when it is first needed: not every request has an address.
func domains() *idna.Profile {
	return idna.New(idna.MapForLookup(), idna.BidiRule(), idna.VerifyDNSLength(true))
}

func dotAtom(local string) bool {
	if len(local) > localMost {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtom) {
			return false
		}
	}
	return true
}

// notAtom tells whether r stands in no atom (RFC 5322, section 3.2.3).
func notAtom(r rune) bool {
	if r < utf8.RuneSelf {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
	}
	return !unicode.In(r, unicode.L, unicode.M, unicode.N)
}
