package auth

import (
	"crypto/sha256"
	_ "embed"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
)

// commonSums are the passwords that people use most, some 49,000 of them, each as
// the first sumBytes of its SHA-256 in order: the check needs no more of them, and
// takes one other password in 20 million for one of them. They are derived from a
// published list by TestCommonPasswordsAreThoseOfTheList.
//
//go:embed common.bin
var commonSums string

const sumBytes = 5

// commonText are passwords that the list lacks and that everybody tries on
// software like this, in lower case, one a line.
//
//go:embed common.txt
var commonText string

var commonHere = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.Lines(commonText) {
		words[strings.TrimSpace(word)] = true
	}
	return words
})

func sumOf(word string) string {
	sum := sha256.Sum256([]byte(word))
	return string(sum[:sumBytes])
}

func isCommonWord(word string) bool {
	sum := sumOf(word)
	at := func(i int) string { return commonSums[i*sumBytes : (i+1)*sumBytes] }
	n := len(commonSums) / sumBytes
	i := sort.Search(n, func(i int) bool { return at(i) >= sum })
	return i < n && at(i) == sum || commonHere()[word]
}

// decoration is how many digits and signs at its end make no other word of one:
// as many as a year and two signs have.
const decoration = 6

// isCommon tells whether a password is a common one, in any case and with a few
// digits and signs at its end, such a one twice, one character over and over, or a
// run like 456789 or hgfedcba.
func isCommon(password string) bool {
	folded := strings.ToLower(password)
	words := []string{folded}
	if stem := undecorated(folded); len(folded)-len(stem) <= decoration {
		words = append(words, stem)
	}
	if half := folded[:len(folded)/2]; half+half == folded {
		words = append(words, half)
	}
	return slices.ContainsFunc(words, isCommonWord) || isRun(folded)
}

func undecorated(folded string) string { return strings.TrimRight(folded, "0123456789!?.,*#$@-_ ") }

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
	stem := undecorated(folded)
	email = fold(email)
	local, _, _ := strings.Cut(email, "@")
	return slices.ContainsFunc(slices.Concat(products, []string{email, local}), func(known string) bool {
		return known != "" && (folded == known || stem == known)
	})
}
