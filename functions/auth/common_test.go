package auth

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite common.bin from COMMON_PASSWORDS")

// TestCommonPasswordsAreThoseOfTheList derives the sums again from the list that
// npm's @zxcvbn-ts/language-common has of passwords by how often they were found
// in breaches.
func TestCommonPasswordsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	path := os.Getenv("COMMON_PASSWORDS")
	if path == "" {
		t.Skip("npm install @zxcvbn-ts/language-common@4.1.3, and set COMMON_PASSWORDS to the path of its src/passwords.json")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	if err := json.Unmarshal(text, &words); err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, word := range words {
		sums = append(sums, sumOf(strings.ToLower(word)))
	}
	slices.Sort(sums)
	want := []byte(strings.Join(slices.Compact(sums), ""))
	if *update {
		if err := os.WriteFile("common.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, []byte(commonSums)) {
		t.Error("common.bin is stale; run: go test ./functions/auth -run CommonPasswords -update")
	}
	// What the policy would let through otherwise is refused to the last one.
	refused := 0
	for _, word := range words {
		if len(word) >= 8 && isCommon(word) {
			refused++
		} else if len(word) >= 8 {
			t.Errorf("%q of the list is not refused", word)
		}
	}
	if refused < 3000 { // ASVS 5.0, 6.2.4
		t.Errorf("%d passwords of the list are long enough to be refused by it", refused)
	}
}

func TestOwnWordsAreNotInTheList(t *testing.T) {
	t.Parallel()
	var before string
	for line := range strings.Lines(commonText) {
		word := strings.TrimSpace(line)
		if word <= before || word != strings.ToLower(word) {
			t.Errorf("%q is out of order, or not in lower case", word)
		}
		before = word
	}
}
