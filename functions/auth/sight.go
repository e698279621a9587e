package auth

import (
	"strings"
	"unicode"
)

// What people call themselves is shown to others, who go by what they see: text
// that hides something, or turns what stands around it, is not taken. The order of
// a text in letters that run from right to left is the page's to isolate.

// hidden tells whether r is seen nowhere: a control, a change of direction, a space
// without a width, a filler.
func hidden(r rune) bool {
	const brailleBlank = '\u2800'
	return r == brailleBlank || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// shapes tells whether r is hidden and yet belongs to the character before it, as
// in Persian, in the scripts of India, in Japanese names and in emoji. Latin, Greek
// and Cyrillic have no use for it.
func shapes(r, before rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	if r != nonJoiner && r != joiner && !unicode.Is(unicode.Variation_Selector, r) {
		return false
	}
	if unicode.Is(unicode.Variation_Selector, before) {
		return r == joiner
	}
	return unicode.In(before, unicode.L, unicode.M, unicode.N, unicode.S) && !unicode.In(before, alike...)
}

// marksMost is how many marks one character carries: more than any language puts
// there, and few enough not to cover the line above.
const marksMost = 8

// isSeen tells whether a name has something to see, and nothing that is not seen.
func isSeen(name string) bool {
	seen, before, marks := false, rune(0), 0
	for _, r := range name {
		if hidden(r) && !shapes(r, before) {
			return false
		}
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		if marks > marksMost {
			return false
		}
		seen = seen || unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S)
		before = r
	}
	return seen && (!hidden(before) || unicode.Is(unicode.Variation_Selector, before))
}

// alike are the scripts whose letters look like each other's.
var alike = []*unicode.RangeTable{unicode.Latin, unicode.Greek, unicode.Cyrillic}

// isPlain tells whether an e-mail address is what it looks like, as far as one can
// tell by itself: nothing hidden, and no part of it in letters of scripts that look
// alike, as is paypal with one letter of Cyrillic.
func isPlain(address string) bool {
	if strings.ContainsFunc(address, hidden) {
		return false
	}
	for part := range strings.FieldsFuncSeq(address, func(r rune) bool { return r == '@' || r == '.' }) {
		scripts := 0
		for _, script := range alike {
			if strings.ContainsFunc(part, func(r rune) bool { return unicode.Is(script, r) }) {
				scripts++
			}
		}
		if scripts > 1 {
			return false
		}
	}
	return true
}
