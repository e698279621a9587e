package auth

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// commonText are passwords that everybody tries first, in lower case, one a line.
//
//go:embed common.txt
var commonText string

var common = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.Lines(commonText) {
		words[strings.TrimSpace(word)] = true
	}
	return words
})

// isCommon tells whether a password is a common one, in any case and with any
// digits and signs at its end, one character over and over, or a run like
// 456789 or hgfedcba.
func isCommon(password string) bool {
	folded := strings.ToLower(password)
	stem := strings.TrimRight(folded, "0123456789!?.,*#$@-_ ")
	return common()[folded] || common()[stem] || isRun(folded)
}

// isRun tells whether each character is the same distance, at most one, from the
// one before it.
func isRun(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	second, _ := utf8.DecodeRuneInString(text[size:])
	step := second - first
	if step < -1 || step > 1 {
		return false
	}
	before := first
	for _, r := range text[size:] {
		if r-before != step && !(before == '9' && r == '0') {
			return false
		}
		before = r
	}
	return true
}

// products are what this product is called.
var products = []string{"devopsdashboard", "devops-dashboard", "devops dashboard", "devops_dashboard", "dashboard", "devops"}

// aboutAccount tells whether a password says no more than what everybody knows of
// the account, but for digits and signs at its end.
func aboutAccount(password, email string) bool {
	folded := fold(password)
	stem := strings.TrimRight(folded, "0123456789!?.,*#$@-_ ")
	email = fold(email)
	local, _, _ := strings.Cut(email, "@")
	return slices.ContainsFunc(slices.Concat(products, []string{email, local}), func(known string) bool {
		return known != "" && (folded == known || stem == known)
	})
}
