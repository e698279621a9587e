package keys_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/identity/keys"
)

// run returns what the command prints, and what it says beside that.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	if code := keys.Run(args, strings.NewReader(stdin), &out, &said); code != 0 {
		t.Fatalf("%v: exit code %d, %s", args, code, &said)
	}
	if !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%v: no end of line", args)
	}
	return strings.TrimSuffix(out.String(), "\n"), said.String()
}

func list(t *testing.T, stdin, set string) []string {
	t.Helper()
	out, _ := run(t, stdin, "list", set)
	return strings.Split(out, "\n")
}

// Through all the states of both sets, each token that was made is accepted as
// long as it must be.
func TestARotation(t *testing.T) {
	t.Parallel()
	access, _ := run(t, "nothing is read", "new", "access")
	refresh, _ := run(t, "", "new", "refresh")
	public, said := run(t, access, "public", "access")
	if said != "" || strings.Contains(public, `"d"`) {
		t.Fatalf("the public set is %s; %s", public, said)
	}
	settings := func() map[string]string {
		return map[string]string{"ACCESS_SIGNING_KEYS": access, "ACCESS_PUBLIC_KEYS": public, "REFRESH_KEYS": refresh}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var tokens, cookies []string
	issue := func() {
		t.Helper()
		tokens = append(tokens, strings.TrimPrefix(identitytest.Bearer(t, settings(), uuid.New(), uuid.New(), now), "Bearer "))
		cookie, err := identitytest.Signer(t, settings()).Refresh(t.Context(), identity.Refresh{ID: uuid.New(), User: uuid.New(), Session: uuid.New(), IssuedAt: now, ExpiresAt: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, cookie)
	}
	accepted := func(want ...bool) {
		t.Helper()
		for i := range tokens {
			_, err := identitytest.Verifier(t, settings(), now).Access(t.Context(), tokens[i])
			_, other := identitytest.Signer(t, settings()).ReadRefresh(t.Context(), cookies[i])
			if (err == nil) != want[i] || (other == nil) != want[i] {
				t.Errorf("token %d: %v, cookie: %v", i, err, other)
			}
		}
	}
	issue()

	oldAccess, oldRefresh := list(t, access, "access")[0], list(t, refresh, "refresh")[0]
	access, said = run(t, access, "publish", "access")
	newAccess := list(t, access, "access")[1]
	if !strings.HasPrefix(said, newAccess+" is new.") {
		t.Errorf("it says %s", said)
	}
	refresh, _ = run(t, refresh, "publish", "refresh")
	newRefresh := list(t, refresh, "refresh")[1]
	public, _ = run(t, access, "public", "access")
	issue()
	accepted(true, true)

	access, said = run(t, access, "sign", "access", newAccess)
	if !slices.Equal(list(t, access, "access"), []string{newAccess, oldAccess}) || said != newAccess+" signs. "+oldAccess+" is needed for another 20 minutes.\n" {
		t.Errorf("it says %s", said)
	}
	refresh, said = run(t, refresh, "sign", "refresh", newRefresh)
	if !strings.Contains(said, "7 days and 1 h") {
		t.Errorf("it says %s", said)
	}
	if _, said := run(t, refresh, "sign", "refresh", newRefresh); said != newRefresh+" signs already.\n" {
		t.Errorf("it says %s", said)
	}
	issue()
	accepted(true, true, true)

	access, said = run(t, access, "retire", "access", oldAccess)
	if said != oldAccess+" is removed.\n" {
		t.Errorf("it says %s", said)
	}
	refresh, _ = run(t, refresh, "retire", "refresh", oldRefresh)
	public, _ = run(t, access, "public", "access")
	issue()
	accepted(false, false, true, true)
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	access, refresh := identity.AccessKeys.New(), identity.RefreshKeys.New()
	full := access
	for range 15 {
		full, _, _ = full.Publish()
	}
	for name, test := range map[string]struct {
		args  []string
		stdin string
		code  int
		says  string
	}{
		"nothing":              {nil, "", 2, "usage: "},
		"a verb alone":         {[]string{"new"}, "", 2, "usage: "},
		"an unknown verb":      {[]string{"rotate", "access"}, "", 2, "usage: "},
		"an unknown set":       {[]string{"new", "public"}, "", 2, "usage: "},
		"too much":             {[]string{"new", "access", "x"}, "", 2, "usage: "},
		"sign what":            {[]string{"sign", "access"}, "", 2, "usage: "},
		"retire in an unknown": {[]string{"retire", "x", "y"}, "", 2, "usage: "},
		"public secrets":       {[]string{"public", "refresh"}, refresh.Secret(), 2, "usage: "},
		"an empty set":         {[]string{"publish", "access"}, "", 1, "ACCESS_SIGNING_KEYS: is not set"},
		"another set":          {[]string{"list", "refresh"}, access.Secret(), 1, "REFRESH_KEYS: key 1: is not a key for HS256"},
		"an endless set":       {[]string{"list", "refresh"}, strings.Repeat(" ", 1<<20) + refresh.Secret(), 1, "is not a JSON object"},
		"a full set":           {[]string{"publish", "access"}, full.Secret(), 1, "retire one"},
		"an unknown key":       {[]string{"sign", "access", "x"}, access.Secret(), 1, `has no key "x", but ` + access.IDs()[0]},
		"the key that signs":   {[]string{"retire", "refresh", refresh.IDs()[0]}, refresh.Secret(), 1, "have another key sign first"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, said bytes.Buffer
			code := keys.Run(test.args, strings.NewReader(test.stdin), &out, &said)
			if code != test.code || out.Len() != 0 || !strings.Contains(said.String(), test.says) {
				t.Errorf("exit code %d, printed %d bytes, said %s", code, out.Len(), &said)
			}
			if strings.Contains(said.String(), `"d"`) || strings.Contains(said.String(), `"k":`) {
				t.Errorf("it tells a secret: %s", &said)
			}
		})
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestWhatCannotBeReadOrPrinted(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	if code := keys.Run([]string{"list", "access"}, iotest.ErrReader(errors.New("the disk broke")), io.Discard, &said); code != 1 || said.String() != "the disk broke\n" {
		t.Errorf("exit code %d, said %s", code, &said)
	}
	said.Reset()
	if code := keys.Run([]string{"new", "access"}, nil, broken{}, &said); code != 1 || said.String() != "the pipe broke\n" {
		t.Errorf("exit code %d, said %s", code, &said)
	}
}
