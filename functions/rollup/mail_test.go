package rollup_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/mail"
	"github.com/devops-dashboard/dashboard/shared/mail/mailtest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// post is a world whose rollup sends mail.
type post struct {
	world
	server *mailtest.Server
	at     string
}

func newPost(t testing.TB) *post {
	t.Helper()
	p := &post{world: newWorld(t), server: mailtest.New(t, true)}
	p.at = p.server.Start()
	p.handler = p.over(p.url, 20*time.Second)
	p.exec("INSERT INTO users (email, email_key, name) VALUES ('Ada@example.com', 'ada@example.com', 'Ada'), ('bob@example.com', 'bob@example.com', 'Bob')")
	return p
}

// over returns the function over the database at url, which waits so long for the
// mail server.
func (p *post) over(url string, step time.Duration) http.Handler {
	p.t.Helper()
	settings := map[string]string{"DATABASE_URL": url, "SMTP_URL": "smtps://" + p.at, "MAIL_FROM": "dash@example.com", "PUBLIC_ORIGIN": "https://dash.example.com"}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	mail.Through(env, p.server.Roots, step)
	handler, err := function.Handler(env, rollup.Function)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

// due puts a letter down.
func (p *post) due(kind, who string) {
	p.t.Helper()
	p.exec(`INSERT INTO mails (kind, user_id, address) SELECT $1, (SELECT id FROM users WHERE email_key = $2), CASE $1 WHEN 'password_forgotten' THEN decode(md5($2), 'hex') END`, kind, who)
}

func send(handler http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/rollup/mail", nil))
	return answer
}

func (p *post) sends(want string) {
	p.t.Helper()
	if got := send(p.handler); got.Code != http.StatusOK || got.Body.String() != want+"\n" {
		p.t.Errorf("answered %d %s, want %s", got.Code, got.Body, want)
	}
}

// events are those of the audit log, in order, with whose they are.
func (p *post) events() string {
	return p.text(`SELECT COALESCE(string_agg(COALESCE(u.name, '?') || ' ' || e.kind || COALESCE(' ' || (e.detail->>'mail'), ''), ', ' ORDER BY e.id), '') FROM auth_events e LEFT JOIN users u ON u.id = e.user_id`)
}

func (p *post) waiting() string {
	return p.text("SELECT count(*)::text FROM mails WHERE done_at IS NULL")
}

var linked = regexp.MustCompile(`https://dash\.example\.com/#password=(dd_lnk_[0-9A-Za-z]+)\n`)

func TestMailIsSent(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.due("password_forgotten", "ada@example.com")
	p.due("password_changed", "bob@example.com")
	p.due("password_forgotten", "nobody@example.com")
	p.sends(`{"sent":2,"refused":0}`)
	p.sends(`{"sent":0,"refused":0}`)
	got := p.server.Letters()
	if len(got) != 2 || got[0].To != "Ada@example.com" || got[1].To != "bob@example.com" || got[0].From != "dash@example.com" {
		t.Fatalf("%+v", got)
	}
	link := linked.FindStringSubmatch(got[0].Text)
	if link == nil || !strings.Contains(got[1].Text, "was changed") || strings.Contains(got[1].Text, "dd_lnk") {
		t.Fatalf("%s\n%s", got[0].Text, got[1].Text)
	}
	var good int
	if err := p.pool.QueryRow(t.Context(), `SELECT count(*) FROM links l JOIN users u ON u.id = l.user_id
		WHERE l.secret_hash = $1 AND l.kind = 'password' AND u.name = 'Ada' AND l.created_by IS NULL AND l.expires_at BETWEEN now() + interval '59 minutes' AND now() + interval '1 hour'`,
		access.DigestOf(link[1]).Bytes()).Scan(&good); err != nil || good != 1 {
		t.Errorf("the link is %d of Ada's, %v", good, err)
	}
	if n := p.text("SELECT count(*)::text FROM links"); n != "1" || p.waiting() != "0" {
		t.Errorf("%s links, %s letters waiting", n, p.waiting())
	}
	if got, want := p.events(), "Ada password_link_made, Ada mail_sent password_forgotten, Bob mail_sent password_changed"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}
}

// Who asks several times before the mail goes out gets one letter, and nobody gets
// one whose account was disabled or deleted meanwhile, or an hour late.
func TestMailThatIsNotSent(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for range 3 {
		p.due("password_forgotten", "ada@example.com")
	}
	p.due("password_changed", "ada@example.com")
	p.exec("INSERT INTO users (email, email_key, name, disabled_at) VALUES ('x', 'x', 'X', now())")
	p.exec("INSERT INTO users (email, email_key, name) VALUES ('y@example.com', 'y', 'Y'), ('z@example.com', 'z', 'Z')")
	p.due("password_forgotten", "x")
	p.due("password_forgotten", "y")
	p.due("password_forgotten", "z")
	p.exec("DELETE FROM users WHERE name = 'Y'")
	p.exec("UPDATE mails SET created_at = now() - interval '61 minutes' FROM users u WHERE u.id = user_id AND u.name = 'Z'")
	p.sends(`{"sent":2,"refused":0}`)
	p.sends(`{"sent":0,"refused":0}`)
	if p.waiting() != "0" || len(p.server.Letters()) != 2 {
		t.Errorf("%s waiting, %d sent", p.waiting(), len(p.server.Letters()))
	}
	p.exec("UPDATE mails SET created_at = now() - interval '25 hours' WHERE kind = 'password_changed'")
	p.sends(`{"sent":0,"refused":0}`)
	if n := p.text("SELECT count(*)::text FROM mails"); n != "6" {
		t.Errorf("%s rows are left, want all but the old one", n)
	}
}

// A mail server that is away, whichever way, loses nothing: the letter goes out when
// it is back, and is given up after six times.
func TestMailWaitsForTheServer(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.handler = p.over(p.url, 300*time.Millisecond)
	p.due("password_forgotten", "ada@example.com")
	p.due("password_changed", "bob@example.com")
	for i, answer := range []string{mailtest.Hang, mailtest.Drop, "421 4.3.2 Later", "550 5.7.1 Not you", ""} {
		p.server.Answer("MAIL", answer)
		got := send(p.handler)
		if answer == "" {
			break
		}
		if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" || strings.Contains(got.Body.String(), "example.com") {
			t.Errorf("%s: %d %s", answer, got.Code, got.Body)
		}
		if i%2 == 1 { // both were tried, and are put off
			p.sends(`{"sent":0,"refused":0}`)
			p.exec("UPDATE mails SET due_at = now()")
		}
	}
	if got := p.server.Letters(); len(got) != 2 || p.waiting() != "0" {
		t.Errorf("%d letters, %s waiting", len(got), p.waiting())
	}
	// Each try makes a link, of which nobody knows but the last.
	if n := p.text("SELECT count(*)::text FROM links"); n != "3" {
		t.Errorf("%s links", n)
	}

	p.exec("DELETE FROM auth_events")
	p.due("password_changed", "ada@example.com")
	p.server.Answer("MAIL", "421 4.3.2 Later")
	var waits []string
	for range 6 {
		if got := send(p.handler); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%d %s", got.Code, got.Body)
		}
		waits = append(waits, p.text("SELECT round(extract(epoch FROM due_at - now()) / 60)::text FROM mails WHERE done_at IS NULL"))
		p.exec("UPDATE mails SET due_at = now() WHERE done_at IS NULL")
	}
	p.sends(`{"sent":0,"refused":0}`)
	if got := strings.Join(waits, " "); got != "1 2 4 8 16 32" || p.waiting() != "0" {
		t.Errorf("waits of %s minutes, and %s left", got, p.waiting())
	}
	if got, want := p.events(), "Ada mail_failed password_changed"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}
}

// A mailbox that does not exist keeps nobody else's mail.
func TestMailToNowhere(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.server.Answer("RCPT", "550 5.1.1 Nobody here")
	p.due("password_changed", "ada@example.com")
	p.due("password_changed", "bob@example.com")
	p.sends(`{"sent":0,"refused":2}`)
	p.sends(`{"sent":0,"refused":0}`)
	if got, want := p.events(), "Ada mail_refused password_changed, Bob mail_refused password_changed"; got != want {
		t.Errorf("events: %s, want %s", got, want)
	}
}

// Calls at once send each letter once.
func TestMailIsSentOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for i := range 12 {
		p.exec("INSERT INTO users (email, email_key, name) VALUES ($1, $1, 'Someone')", fmt.Sprint(i, "@example.com"))
		p.due("password_forgotten", fmt.Sprint(i, "@example.com"))
	}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if got := send(p.handler); got.Code != http.StatusOK {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		})
	}
	calls.Wait()
	to := map[string]int{}
	for _, l := range p.server.Letters() {
		to[l.To]++
	}
	if len(to) != 12 || len(p.server.Letters()) != 12 {
		t.Errorf("sent to %v", to)
	}
}

// A database that goes away in the middle is told of; the letter comes, at worst
// twice.
func TestMailWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	for n, proxy := range pgtest.Breaks(t, p.url) {
		p.exec("DELETE FROM mails")
		p.due("password_changed", "ada@example.com")
		before := len(p.server.Letters())
		answer := send(p.over(proxy.URL, 20*time.Second))
		if broken := proxy.Broken(); broken != (answer.Code == http.StatusServiceUnavailable) {
			t.Errorf("step %d: %d %s", n, answer.Code, answer.Body)
		}
		p.exec("UPDATE mails SET due_at = now()")
		send(p.handler)
		if got := len(p.server.Letters()) - before; got != 1 && got != 2 {
			t.Errorf("step %d: %d letters", n, got)
		}
	}
}

func TestNoMailWithoutSettings(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.due("password_changed", "ada@example.com")
	p.handler = serve(t, p.url, time.Now)
	p.sends(`{"sent":0,"refused":0}`)
	if p.waiting() != "1" {
		t.Error("the letter is gone")
	}
}
