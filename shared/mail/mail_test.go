package mail_test

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/function"
	ours "github.com/devops-dashboard/dashboard/shared/mail"
	"github.com/devops-dashboard/dashboard/shared/mail/mailtest"
)

const from = "Dashboard <dash@example.com>"

var fn = function.Function{Name: "mailer", Needs: []function.Need{ours.Need}}

// sender returns a sender to an address with a scheme, that waits so long.
func sender(t testing.TB, at string, server *mailtest.Server, step time.Duration) *ours.Sender {
	t.Helper()
	settings := map[string]string{"SMTP_URL": at, "MAIL_FROM": from, "PUBLIC_ORIGIN": "https://dash.example.com"}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { value, ok := settings[name]; return value, ok }).For(fn)
	if server != nil {
		ours.Through(env, server.Roots, step)
	}
	return ours.SenderFor(env)
}

var account = url.UserPassword(mailtest.User, mailtest.Password).String() + "@"

var letter = ours.Letter{To: "ada@example.com", Subject: "Your new password", Text: "Grüße\n\nhttps://dash.example.com/#password=dd_lnk_" + strings.Repeat("x", 60) + "\n"}

func TestALetterArrives(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scheme     string
		implicit   bool
		asks       bool
		mechanisms string
		noTLS      bool
	}{
		"TLS":                {scheme: "smtps://", implicit: true},
		"TLS, known":         {scheme: "smtps://" + account, implicit: true, asks: true, mechanisms: "PLAIN LOGIN"},
		"STARTTLS":           {scheme: "smtp+starttls://"},
		"STARTTLS, PLAIN":    {scheme: "smtp+starttls://" + account, asks: true, mechanisms: "NTLM PLAIN"},
		"STARTTLS, LOGIN":    {scheme: "smtp+starttls://" + account, asks: true, mechanisms: "LOGIN XOAUTH2"},
		"plain, on loopback": {scheme: "smtp://", noTLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := mailtest.New(t, test.implicit)
			server.Asks, server.NoTLS, server.Mechanisms = test.asks, test.noTLS, test.mechanisms
			if err := sender(t, test.scheme+server.Start(), server, 20*time.Second).Send(t.Context(), letter); err != nil {
				t.Fatal(err)
			}
			got := server.Letters()
			if len(got) != 1 {
				t.Fatalf("%d letters", len(got))
			}
			l := got[0]
			subject, _ := new(mime.WordDecoder).DecodeHeader(l.Header.Get("Subject"))
			if l.From != "dash@example.com" || l.To != letter.To || l.Text != letter.Text || subject != letter.Subject {
				t.Errorf("got %+v", l)
			}
			to, err := l.Header.AddressList("To")
			if err != nil || len(to) != 1 || to[0].Address != letter.To || l.Header.Get("Auto-Submitted") != "auto-generated" || l.Header.Get("Date") == "" ||
				!strings.HasPrefix(l.Header.Get("Content-Type"), "text/plain") || strings.Contains(l.Raw, "go-mail") {
				t.Errorf("%v, %v: %s", to, err, l.Raw)
			}
		})
	}
}

// Whatever the server does, the sender is done with it in its time, the letter is
// not taken for sent, and only a mailbox that does not exist is given up.
func TestAServerThatDoesNotTakeALetter(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"GREETING", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "LETTER"} {
		for _, answer := range []string{mailtest.Hang, mailtest.Drop, "421 4.3.2 Later", "550 5.1.1 Never", "what?"} {
			t.Run(verb+" "+answer, func(t *testing.T) {
				t.Parallel()
				server := mailtest.New(t, false)
				server.Asks = true
				server.Answers[verb] = answer
				step := 20 * time.Second
				if answer == mailtest.Hang {
					step = 300 * time.Millisecond
				}
				err := sender(t, "smtp+starttls://"+account+server.Start(), server, step).Send(t.Context(), letter)
				var refused ours.Refused
				if final := verb == "RCPT" && strings.HasPrefix(answer, "550"); err == nil || errors.As(err, &refused) != final || final && (refused.Code != 550 || !strings.Contains(err.Error(), "550")) {
					t.Fatalf("%v", err)
				}
				if strings.Contains(err.Error(), letter.To) || strings.Contains(err.Error(), mailtest.Password) {
					t.Errorf("the error tells too much: %v", err)
				}
				if got := server.Letters(); len(got) != 0 {
					t.Errorf("%d letters", len(got))
				}
			})
		}
	}
}

// What happens after the letter was taken does not have it sent again.
func TestALetterThatWasTakenWasSent(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"RSET", "QUIT"} {
		for _, answer := range []string{mailtest.Drop, "421 4.3.2 Later"} {
			server := mailtest.New(t, true)
			server.Answers[verb] = answer
			if err := sender(t, "smtps://"+server.Start(), server, 20*time.Second).Send(t.Context(), letter); err != nil || len(server.Letters()) != 1 {
				t.Errorf("%s %s: %v, %d letters", verb, answer, err, len(server.Letters()))
			}
		}
	}
}

// Neither a letter nor a password is said to whom anybody could overhear.
func TestNothingIsSaidWithoutTLS(t *testing.T) {
	t.Parallel()
	server := mailtest.New(t, false)
	server.NoTLS, server.Asks = true, true
	at := server.Start()
	if err := sender(t, "smtp+starttls://"+account+at, server, 20*time.Second).Send(t.Context(), letter); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without STARTTLS: %v", err)
	}
	if err := sender(t, "smtps://"+account+at, nil, 0).Send(t.Context(), letter); err == nil {
		t.Error("a server that speaks no TLS")
	}
	stranger := mailtest.New(t, true)
	if err := sender(t, "smtps://"+account+stranger.Start(), nil, 0).Send(t.Context(), letter); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	for _, s := range []*mailtest.Server{server, stranger} {
		for _, verb := range []string{"AUTH", "MAIL", "DATA"} {
			if slices.Contains(s.Spoken(), verb) {
				t.Errorf("%s was said", verb)
			}
		}
	}
}

func TestACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	server := mailtest.New(t, true)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sender(t, "smtps://"+server.Start(), server, 20*time.Second).Send(gone, letter); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Nobody writes a header, or to somebody else, by what stands in a letter.
func TestNobodyWritesAHeader(t *testing.T) {
	t.Parallel()
	server := mailtest.New(t, true)
	s := sender(t, "smtps://"+server.Start(), server, 20*time.Second)
	known := []string{"Mime-Version", "Date", "Message-Id", "Subject", "From", "To", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding"}
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"\r\n", "\n", "\r", "Bcc: mallory@example.com", " ", ".", "\r\n.\r\n", "é", "=?utf-8?q?=0A?=", "a", ",", ">", "<", "@", "\x00", "\u2028"})
		l := ours.Letter{
			To:      rapid.SampledFrom([]string{"ada@example.com", "ada" + piece.Draw(t, "in the address") + "@example.com"}).Draw(t, "to"),
			Subject: strings.Join(rapid.SliceOfN(piece, 0, 20).Draw(t, "subject"), ""),
			Text:    strings.Join(rapid.SliceOfN(piece, 0, 20).Draw(t, "text"), ""),
		}
		before := len(server.Letters())
		if err := s.Send(context.Background(), l); err != nil {
			if l.To == "ada@example.com" {
				t.Fatalf("%q: %v", l, err)
			}
			return
		}
		got := server.Letters()
		if len(got) != before+1 {
			t.Fatalf("%q came as %d letters", l, len(got)-before)
		}
		is := got[before]
		for name := range is.Header {
			if !slices.Contains(known, name) {
				t.Errorf("%q has the header %s", l, name)
			}
		}
		if to, err := mail.ParseAddressList(is.Header.Get("To")); err != nil || len(to) != 1 || to[0].Address != l.To {
			t.Errorf("%q goes to %q, %v, %v", l, is.To, to, err)
		}
		// Line breaks become those of mail, or are lost where they are half of one.
		one := func(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }
		if one(is.Text) != one(l.Text) {
			t.Errorf("%q reads %q", l.Text, is.Text)
		}
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const good, origin = "smtps://dash:s3cret@mail.example.com", "https://dash.example.com"
	for _, test := range []struct{ server, from, origin, says string }{
		{"", "", "", ""},
		{good, from, origin, ""},
		{good + ":465/", "dash@example.com", origin, ""},
		{"smtp+starttls://mail.example.com:587", from, origin, ""},
		{"smtp://localhost:1025", from, origin, ""},
		{"sm://projects/p/secrets/SMTP_URL/versions/latest", from, origin, ""},
		{good, "", origin, "set both"},
		{"", from, origin, "set both"},
		{good, from, "", "PUBLIC_ORIGIN"},
		{good, "Dashboard", origin, "MAIL_FROM must be"},
		{"mail.example.com:465", from, origin, "SMTP_URL must be"},
		{"https://dash:s3cret@mail.example.com", from, origin, "SMTP_URL must be"},
		{"smtps://dash:s3cret@", from, origin, "SMTP_URL must be"},
		{"smtps://dash:s3cret%@mail.example.com", from, origin, "SMTP_URL must be"},
		{good + ":0", from, origin, "SMTP_URL must be"},
		{good + ":65536", from, origin, "SMTP_URL must be"},
		{good + "/x", from, origin, "SMTP_URL must be"},
		{good + "?x", from, origin, "SMTP_URL must be"},
		{good + "#x", from, origin, "SMTP_URL must be"},
		{"smtps://dash@mail.example.com", from, origin, "both a user and a password"},
		{"smtps://:s3cret@mail.example.com", from, origin, "both a user and a password"},
		{"smtp://mail.example.com", from, origin, "smtps://"},
		{"smtp://dash:s3cret@localhost", from, origin, "without a password"},
	} {
		errs := ours.Need.Check(func(name string) string {
			return map[string]string{"SMTP_URL": test.server, "MAIL_FROM": test.from, "PUBLIC_ORIGIN": test.origin}[name]
		})
		text := errors.Join(errs...)
		if (text == nil) != (test.says == "") || text != nil && (!strings.Contains(text.Error(), test.says) || len(errs) != 1 || strings.Contains(text.Error(), "s3cret")) {
			t.Errorf("%+v: %v", test, text)
		}
		if test.says == "SMTP_URL must be" {
			if err := sender(t, test.server, nil, 0).Send(t.Context(), letter); err == nil {
				t.Errorf("%s is used", test.server)
			}
		}
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil).For(fn)
	if ours.SenderFor(env) != nil {
		t.Error("there is a sender without settings")
	}
}
