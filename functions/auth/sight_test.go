package auth

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesAreWhatOneSees(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Ada":                               true,
		"\u05e2\u05d3\u05d4":                true, // Hebrew
		"\u0639\u062f\u0627 (Ada)":          true, // Arabic beside Latin
		"\u0645\u06cc\u200c\u062e\u0648":    true, // Persian, with a non-joiner
		"\u0915\u094d\u200d\u0937":          true, // Devanagari, with a joiner
		"\u845b\U000e0100\u57ce":            true, // a Japanese name, with a variant of its first character
		"Team \u2764\ufe0f\u200d\U0001f525": true,
		"\u2764\ufe0f":                      true,
		"1\ufe0f\u20e3":                     true,
		"\u0600\u0661":                      true, // a sign before a number is a format character that is seen
		"\u5c71\u7530\u3000\u592a\u90ce":    true,
		"!":                                 true,
		"":                                  false,
		" ":                                 false,
		"\u0301":                            false, // a mark on nothing
		"a\nb":                              false,
		"a\u2028b":                          false,
		"\u202eadA":                         false, // turned
		"Ada\u200e":                         false,
		"\u2067Ada\u2069":                   false,
		"Ada\u061c":                         false,
		"A\u200bda":                         false,
		"A\u200dda":                         false,
		"\u0410\u200c\u0434":                false,
		"A\ufe0fda":                         false,
		"\u200dAda":                         false,
		"\u0915\u094d\u200d":                false, // a joiner with nothing to join
		"\u0915\u200d\u200d\u0937":          false,
		"\u2764\ufe0f\ufe0f":                false,
		"Ada\u00ad":                         false,
		"\ufeffAda":                         false,
		"\u3164":                            false, // fillers
		"Ada\u115f":                         false,
		"\u2800":                            false,
		"a\u034fb":                          false,
		"Ada\U000e0041":                     false, // a tag
		"Ada\ue000":                         false, // private use
		"a" + strings.Repeat("\u0301", 8):   true,
		"a" + strings.Repeat("\u0301", 9):   false,
	} {
		var wrong faults
		wrong.name("body.name", name)
		if got := wrong.err() == nil; got != want {
			t.Errorf("%+q: %t", name, got)
		}
	}
}

func TestNewAddressesAreWhatOneSees(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"ada@example.com":                 true,
		"jos\u00e9@b\u00fccher.example":   true,
		"\u0430\u0434\u0430@example.com":  true, // Cyrillic before the @ alone
		"\u03b1.ada@example.com":          true,
		"\u5c71\u7530.yamada@example.com": true,
		"\u05e2\u05d3\u05d4@example.com":  true,
		"\u0430da@example.com":            false, // one letter of Cyrillic
		"ad\u03b1@example.com":            false, // of Greek
		"ada@ex\u0430mple.com":            false,
		"\u0430\u03b1@example.com":        false,
		"ada@exa\u00admple.com":           false, // a soft hyphen, which the domain's key is without
		"ada@exa\u200bmple.com":           false,
		"ada@exam\u2060ple.com":           false,
		"ad\u3164a@example.com":           false,
		"ad\ufe0fa@example.com":           false,
	} {
		var wrong faults
		wrong.newEmail(text)
		if got := wrong.err() == nil; got != want {
			t.Errorf("%+q: %t", text, got)
		}
	}
	// Who has such an address already signs in with it.
	var wrong faults
	if wrong.email("\u0430da@example.com"); wrong.err() != nil {
		t.Error(wrong.err())
	}
}

func FuzzNamesAreWhatOneSees(f *testing.F) {
	for _, seed := range []string{"Ada", "\u202eadA", "\u0645\u06cc\u200c\u062e\u0648", "\u2764\ufe0f\u200d\U0001f525", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !utf8.ValidString(name) || !isSeen(name) {
			return
		}
		// What is seen stays so beside other text, and turns none of it.
		if !isSeen("Ada " + name + " Ada") {
			t.Errorf("%+q is seen alone only", name)
		}
		for _, turn := range "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" {
			if strings.ContainsRune(name, turn) {
				t.Errorf("%+q turns", name)
			}
		}
	})
}
