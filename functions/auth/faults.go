package auth

import (
	"strings"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/zone"
)

// faults gathers what has to change in a request, so that one answer names all.
// Its methods return the value as it is kept. Lengths in characters are declared
// at the fields and checked before.
type faults []fault.Field

func (f *faults) add(location, message string) {
	*f = append(*f, fault.Field{Location: location, Message: message})
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Invalid, Code: "invalid_request", Fields: f,
		Detail: "The request has parts that cannot be accepted; errors names each and what to change.",
	}
}

func (f *faults) email(text string) address {
	a, err := parseAddress(text)
	if err != nil {
		f.add("body.email", err.Error())
	}
	return a
}

// newEmail is email for an account to be, which others will see.
func (f *faults) newEmail(text string) address {
	before := len(*f)
	a := f.email(text)
	if len(*f) == before && !isPlain(text) {
		f.add("body.email", "must have no character that is not seen, and letters of Latin, Greek or Cyrillic in each part, not of several: they look alike")
	}
	return a
}

// name takes the name of a person or a team without the space around it.
func (f *faults) name(location, text string) string {
	text = strings.TrimSpace(text)
	if !isSeen(text) {
		f.add(location, "must have characters other than spaces, and no line break, change of direction or other character that is not seen")
	}
	return text
}

const timeZoneRule = "must be the IANA name of a time zone, like Europe/Berlin or UTC"

func (f *faults) timeZone(name string) string {
	if !zone.Known(name) {
		f.add("body.time_zone", timeZoneRule)
	}
	return name
}

// passwordMost is how many bytes a password has. It is never cut, folded or
// trimmed.
const passwordMost = 256

func (f *faults) passwordLength(location, password string) {
	if len(password) > passwordMost {
		f.add(location, "must have at most 256 bytes")
	}
}

// password holds a new password to the rules. There is none about digits or
// signs: length and not being everybody's are what counts.
func (f *faults) password(location, password, email string) {
	f.passwordLength(location, password)
	switch {
	case isCommon(password):
		f.add(location, "is among the first that anybody would try; choose one that is yours alone")
	case aboutAccount(password, email):
		f.add(location, "must not be the e-mail address, the part before its @, or the name of this product")
	}
}
