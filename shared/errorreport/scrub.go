package errorreport

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	mostRead = 16 << 10 // bytes of a text
	mostTold = 1 << 10
	// shortest is the length from which what a client sent is looked for: shorter
	// words stand in every sentence.
	shortest = 4
)

// private are the shapes of what must not be told, and what stands in their place. A
// text may come from anywhere, so they take too much rather than too little.
var private = sync.OnceValue(func() []shape {
	return []shape{
		{regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"?|`[^`]*`?|'[^']*'"), "[quoted]"},
		{regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://\S+`), "[url]"},
		{regexp.MustCompile(`[^\s@,;:<>()]+@[^\s@,;:<>()]+`), "[email]"},
		{regexp.MustCompile(`([A-Za-z0-9_.-]+)=[^\s,;)]*`), "$1=[value]"},
		{regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b`), "[address]"},
		{regexp.MustCompile(`\[?(?:[0-9A-Fa-f]{0,4}:){2,}[0-9A-Fa-f:.]*(?:%\w+)?\]?(?::\d+)?`), "[address]"},
		{regexp.MustCompile(`[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]+)*`), "[token]"},
	}
})

var (
	credentials = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\b(?:bearer|basic|digest)\s+\S+`) })
	words       = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\w{6,}`) })
)

type shape struct {
	pattern *regexp.Regexp
	instead string
}

// without returns a text without what the client sent.
func without(sent []string, text string) string {
	text = strings.ToValidUTF8(clip(text, mostRead), "")
	text = credentials().ReplaceAllString(text, "[token]") // first: the word before may have been sent
	sent = slices.Clone(sent)
	slices.SortFunc(sent, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // a part may be sent too
	for _, value := range sent {
		if len(value) >= shortest {
			text = strings.ReplaceAll(text, value, "[sent]")
		}
	}
	return text
}

// scrub returns a text without what looks like a secret, a person or an address.
func scrub(text string) string {
	for _, s := range private() {
		text = s.pattern.ReplaceAllString(text, s.instead)
	}
	text = words().ReplaceAllStringFunc(text, func(word string) string {
		if strings.ContainsAny(word, "0123456789") { // an id, or what somebody thought of
			return "#"
		}
		return word
	})
	return clip(text, mostTold)
}

func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
