package auth_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/access"
)

var mails = map[string]string{"MAIL_FROM": "dash@example.com", "PUBLIC_ORIGIN": "https://dash.example.com"}

func forgot(t *testing.T, handler http.Handler, email string) answer {
	t.Helper()
	return call(t, handler, http.MethodPost, "/api/auth/password/forgot", map[string]any{"email": email})
}

// Whoever has an account, or none, or one that was disabled: the answer is one, and
// what is put down differs in nothing but whose it is.
func TestForgottenPasswords(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.with(t, mails)
	registered(t, handler, ada())
	registered(t, handler, ada("email", "disabled@example.com"))
	f.exec(t, `UPDATE users SET disabled_at = now() WHERE email_key = 'disabled@example.com'`)
	for who, whose := range map[string]string{"ADA@example.com": email, "disabled@example.com": "", "nobody@example.com": ""} {
		f.exec(t, "DELETE FROM mails")
		f.exec(t, "DELETE FROM auth_events")
		for range 5 {
			if got := forgot(t, handler, who); got.Status != http.StatusAccepted || got.Raw != "" {
				t.Errorf("%s: %d %s", who, got.Status, got.Raw)
			}
		}
		var of string
		f.get(t, &of, `SELECT string_agg(COALESCE(u.email, '') || ' ' || e.kind, ',') FROM auth_events e LEFT JOIN users u ON u.id = e.user_id`)
		one := whose + " password_forgotten"
		if of != strings.Join([]string{one, one, one}, ",") {
			t.Errorf("%s: events %s", who, of)
		}
		if n := f.count(t, `mails m LEFT JOIN users u ON u.id = m.user_id WHERE m.kind = 'password_forgotten' AND COALESCE(u.email, '') = $1 AND m.done_at IS NULL`, whose); n != 3 {
			t.Errorf("%s: %d mails", who, n)
		}
		f.exec(t, "UPDATE mails SET created_at = now() - interval '61 minutes'")
		forgot(t, handler, who)
		if n := f.count(t, "mails"); n != 4 {
			t.Errorf("%s: an hour later, %d mails", who, n)
		}
	}
	if got := forgot(t, handler, "nobody"); got.Status != http.StatusUnprocessableEntity {
		t.Errorf("no address: %d %s", got.Status, got.Raw)
	}
	if n := f.count(t, "mails WHERE encode(address, 'escape') LIKE '%nobody%'"); n != 0 {
		t.Error("an address of nobody's is kept")
	}
}

func TestForgottenPasswordsWithoutMail(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.untouched(t)
	for _, who := range []string{email, "nobody@example.com", "nobody"} {
		if got := forgot(t, handler, who); got.Status != http.StatusForbidden || got.Body.Code != "no_mail" || !strings.Contains(got.Raw, "owner of your team") {
			t.Errorf("%s: %d %s", who, got.Status, got.Raw)
		}
	}
	for settings, want := range map[*map[string]string]string{{}: `"mail":false`, &mails: `"mail":true`} {
		if got := call(t, f.with(t, *settings), http.MethodGet, "/api/auth/registration", nil); !strings.Contains(got.Raw, want) {
			t.Errorf("%s, want %s", got.Raw, want)
		}
	}
}

// As with sign-ins, see TestTimeTellsNothingOfAccounts. Each attempt is for another
// address, so that all are put down.
func TestTimeTellsNothingOfForgottenPasswords(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.with(t, mails)
	const attempts = 60
	f.exec(t, `INSERT INTO users (email, email_key, name) SELECT 'known' || n || '@example.com', 'known' || n || '@example.com', 'x' FROM generate_series(0, $1) n`, attempts)
	took := map[string][]time.Duration{}
	for n := range attempts + 1 {
		for _, i := range rand.Perm(2) {
			who := []string{"known", "other"}[i]
			began := time.Now()
			if got := forgot(t, handler, fmt.Sprint(who, n, "@example.com")); got.Status != http.StatusAccepted {
				t.Fatalf("%d %s", got.Status, got.Raw)
			}
			if n > 0 {
				took[who] = append(took[who], time.Since(began))
			}
		}
	}
	if n := f.count(t, "mails WHERE user_id IS NOT NULL"); n != attempts+1 {
		t.Fatalf("%d are of accounts", n)
	}
	chance := math.Sqrt((2*attempts + 1) / (12.0 * attempts * attempts))
	if p := superiority(took["known"], took["other"]); math.Abs(p-0.5) > 4.4*chance {
		t.Errorf("an account takes longer than none with probability %.2f", p)
	}
}

// Whose password was changed is told, and every other link that would set one ends.
func TestAChangedPasswordIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings map[string]string
		told     int
	}{"with mail": {mails, 1}, "without": {nil, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			handler := f.with(t, test.settings)
			in := registered(t, handler, ada())
			link := func() string {
				secret := access.NewSecret(access.LinkPrefix)
				f.exec(t, `INSERT INTO links (kind, secret_hash, user_id, expires_at) SELECT 'password', $1, id, now() + interval '1 hour' FROM users`, access.DigestOf(secret).Bytes())
				return secret
			}
			reset := func(link string) answer {
				return call(t, handler, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": link, "new_password": "another good phrase"})
			}
			told := func() int {
				return f.count(t, `mails m JOIN users u ON u.id = m.user_id WHERE m.kind = 'password_changed' AND u.email = $1`, email)
			}
			before := link()
			if got := changePassword(t, handler, in.Body.AccessToken, password, password+", or longer"); got.Status != http.StatusOK || told() != test.told {
				t.Errorf("%d %s, told %d times", got.Status, got.Raw, told())
			}
			one, other := link(), link()
			if got := reset(before); got.Body.Code != "link_revoked" {
				t.Errorf("a link from before: %d %s", got.Status, got.Raw)
			}
			// Of two at once the later may still set its own, but none waits in a circle.
			var both sync.WaitGroup
			var answers [2]answer
			for i, link := range []string{one, other} {
				both.Go(func() { answers[i] = reset(link) })
			}
			both.Wait()
			set := 0
			for _, got := range answers {
				if got.Status == http.StatusOK {
					set++
					if n := f.count(t, "links WHERE used_at IS NOT NULL AND revoked_at IS NULL"); n == 0 {
						t.Error("the link that was used is not marked so")
					}
				} else if got.Body.Code != "link_revoked" {
					t.Errorf("%d %s", got.Status, got.Raw)
				}
			}
			if set == 0 || told() != (1+set)*test.told {
				t.Errorf("%d set, told %d times", set, told())
			}
			if got := reset(one); got.Status != http.StatusGone {
				t.Errorf("once more: %d %s", got.Status, got.Raw)
			}
		})
	}
}
