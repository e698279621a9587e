package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	local64 := strings.Repeat("a", 64)
	for text, key := range map[string]string{
		"ada@example.com":                   "ada@example.com",
		"Ada.L+x@Example.COM":               "ada.l+x@example.com",
		"!#$%&'*+-/=?^_`{|}~@x":             "!#$%&'*+-/=?^_`{|}~@x",
		"stra\u00dfe@x.example":             "strasse@x.example",
		"\u03a3\u03c2@x.example":            "\u03c3\u03c3@x.example",
		"e\u0301@x.example":                 "\u00e9@x.example",
		"\u1fb4@x.example":                  "\u03ac\u03b9@x.example",
		"\u03b1\u0345\u0301@x.example":      "\u03ac\u03b9@x.example",
		"a@stra\u00dfe.example":             "a@xn--strae-oqa.example",
		"a@B\u00fccher.example":             "a@xn--bcher-kva.example",
		"a@\uff45\uff58.example":            "a@ex.example",
		local64 + "@x.example":              local64 + "@x.example",
		"ada":                               "",
		"":                                  "",
		"@x.example":                        "",
		"a@":                                "",
		"a@b@c.example":                     "",
		"a b@x.example":                     "",
		" a@x.example":                      "",
		"a@x.example ":                      "",
		"a\n@x.example":                     "",
		".a@x.example":                      "",
		"a.@x.example":                      "",
		"a..b@x.example":                    "",
		`"a b"@x.example`:                   "",
		"a(c)@x.example":                    "",
		"Ada <a@x.example>":                 "",
		"a\u200b@x.example":                 "",
		"a\xff@x.example":                   "",
		"a@[127.0.0.1]":                     "",
		"a@-x.example":                      "",
		"a@x..example":                      "",
		"a@x_y.example":                     "",
		"a@x\xff.example":                   "",
		"a@" + strings.Repeat("b", 64):      "",
		local64 + "a@x.example":             "",
		"a@" + strings.Repeat("bcd.", 64):   "",
		strings.Repeat("\u0390", 32) + "@x": strings.Repeat("\u0390", 32) + "@x",
	} {
		got, err := parseAddress(text)
		if got.key != key || (err == nil) != (key != "") || (err == nil && got.written != text) {
			t.Errorf("%q: %+v, %v; want key %q", text, got, err, key)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"Ada.L+x@Example.COM", "stra\u00dfe@B\u00fccher.example", "a@\uff45\uff58.example", "\u0130@x", "\u1e9e\u0345@x", "a@xn--a", "a@\u3002", `"a"@b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			return
		}
		if len(a.key) > addressMost || strings.Count(a.key, "@") != 1 {
			t.Errorf("%q has the key %q", text, a.key)
		}
		if fold(a.key) != a.key {
			t.Errorf("%q has the key %q, which folds to %q", text, a.key, fold(a.key))
		}
	})
}

func TestCommonPasswords(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]bool{
		"password": true, "PASSWORD": true, "Password1!": true, "welcome2026": true, "correcthorsebatterystaple": true,
		"12345678": true, "34567890": true, "hgfedcba": true, "zzzzzzzzz": true, "87654321": true, "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4": true,
		"a long and unlikely phrase": false, "x12345678": false, "00000001": true, "kubernetes!": true, "dolphins2026": true, "tigertiger": true, "GitHub2026!!": true,
		"1dolphins": false, "!!!!!!!?": false, "dolphins1234567": false, "tiger and kubernetes": false,
	} {
		if got := isCommon(password); got != want {
			t.Errorf("%q: %t", password, got)
		}
	}
}

// The reference implementation's own figures.
func TestCheckHash(t *testing.T) {
	t.Parallel()
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for password, want := range map[string]bool{"password": true, "Password": false, "": false} {
		if got, err := checkHash(password, reference); got != want || err != nil {
			t.Errorf("%q: %t, %v", password, got, err)
		}
	}
	if isCurrent(reference) {
		t.Error("its cost is not today's")
	}
	hash := newHash("x")
	if fits, err := checkHash("x", hash); !fits || err != nil || !isCurrent(hash) || hash == newHash("x") {
		t.Errorf("a new hash, %s: %t, %v", hash, fits, err)
	}
	if fits, err := checkHash("", dummyHash()); fits || err != nil || !isCurrent(dummyHash()) {
		t.Errorf("the dummy: %t, %v", fits, err)
	}
}

func TestParseHashRefuses(t *testing.T) {
	t.Parallel()
	const salt, key = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	long := strings.Repeat("A", 88)
	for _, text := range []string{
		"", "$", "$$$$$", "$argon2id$v=19$m=64,t=1,p=1$" + salt,
		"$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=65537,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=4294967360,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=9,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=5$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=257$" + salt + "$" + key,
		"$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=064,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=1,x=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$AAAA$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$" + long + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$AAAA",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + long,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "=$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key + "\n",
	} {
		if h, err := parseHash(text); err == nil {
			t.Errorf("%q is read as %+v", text, h)
		}
		if fits, err := checkHash("password", text); fits || err == nil {
			t.Errorf("%q can be checked", text)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$2b$10$abc")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err == nil && (h.String() != text || !h.bounded()) {
			t.Errorf("%q is read as %+v", text, h)
		}
	})
}

func TestCheckBcrypt(t *testing.T) {
	t.Parallel()
	stored, err := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		password, stored string
		fits, fails      bool
	}{
		{"password", string(stored), true, false},
		{"Password", string(stored), false, false},
		{"password", string(stored[:20]), false, true},
		{"password", strings.Replace(string(stored), "$04$", "$14$", 1), false, true},
		{"password", strings.Replace(string(stored), "$2a$", "$3a$", 1), false, true},
		{"password", string(stored[:10]) + "!" + string(stored[11:]), false, true},
	} {
		fits, err := checkHash(test.password, test.stored)
		if fits != test.fits || (err != nil) != test.fails {
			t.Errorf("%q with %q: %t, %v", test.password, test.stored, fits, err)
		}
	}
}

func TestHasherBoundsItsWork(t *testing.T) {
	t.Parallel()
	h := &hasher{turns: make(chan struct{}, 1), wait: time.Millisecond}
	if _, err := h.hash(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	h.turns <- struct{}{} // somebody's turn
	if _, err := h.hash(t.Context(), "x"); !errors.Is(err, errBusy) {
		t.Errorf("a new hash: %v", err)
	}
	if _, err := h.check(t.Context(), "x", dummyHash()); !errors.Is(err, errBusy) {
		t.Errorf("a check: %v", err)
	}
	h.wait = time.Hour
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.check(gone, "x", dummyHash()); !errors.Is(err, context.Canceled) {
		t.Errorf("for a caller who left: %v", err)
	}
	<-h.turns
	if _, err := h.check(t.Context(), "x", dummyHash()); err != nil || len(h.turns) != 0 {
		t.Errorf("afterwards: %v, %d turns taken", err, len(h.turns))
	}
	if n, wait := cap(newHasher().turns), newHasher().wait; n != processors() || wait != time.Second {
		t.Errorf("%d turns, waits %s", n, wait)
	}
}

// Go may know a time zone that PostgreSQL does not.
func TestPostgresRefusesATimeZone(t *testing.T) {
	t.Parallel()
	db := pgtest.Pool(t)
	for zone, want := range map[string]bool{"Nowhere/Never": true, "Europe/London": false} {
		_, _, err := openAccount(t.Context(), db, newAccount{email: address{written: zone, key: zone}, name: "A", team: "T", timeZone: zone}, opening{})
		if unknownTimeZone(err) != want || (err != nil) != want {
			t.Errorf("%s: %v", zone, err)
		}
	}
}
