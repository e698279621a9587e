// Package mail hands letters of plain text to a mail server. What they say, to whom
// they go, and what follows when one cannot be sent is left to those who write them.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

const (
	serverSetting = "SMTP_URL"
	fromSetting   = "MAIL_FROM"
	originSetting = "PUBLIC_ORIGIN"
)

// Need declares that a function sends mail. Without its settings none is sent.
var Need = function.Need{Name: "mail", Settings: []function.Setting{
	{Name: serverSetting, Optional: true, Secret: true, Doc: "the mail server: smtps://USER:PASSWORD@HOST:465, or smtp+starttls://USER:PASSWORD@HOST:587; with MAIL_FROM"},
	{Name: fromSetting, Optional: true, Doc: "whose mail it is, such as Dashboard <dashboard@example.com>; unset, no mail is sent"},
}, Check: check}

func check(setting func(string) string) (errs []error) {
	server, from := setting(serverSetting), setting(fromSetting)
	if (server == "") != (from == "") {
		errs = append(errs, errors.New("set both SMTP_URL and MAIL_FROM, or neither"))
	}
	if server != "" && secrets.Plain(server) {
		if _, err := parseServer(server); err != nil {
			errs = append(errs, err)
		}
	}
	if from != "" {
		if _, err := mail.ParseAddress(from); err != nil {
			errs = append(errs, errors.New("MAIL_FROM must be an e-mail address, such as Dashboard <dashboard@example.com>"))
		}
		if setting(originSetting) == "" {
			errs = append(errs, errors.New("MAIL_FROM needs PUBLIC_ORIGIN: a link in a mail has to lead somewhere, and what a request names as its host may be anybody's"))
		}
	}
	return errs
}

// server is where mail is handed in.
type server struct {
	host           string
	port           int
	user, password string
	tls            bool // from the first byte
	plain          bool // without TLS, which never leaves this machine
}

// parseServer reads SMTP_URL. Its errors repeat none of it, since it has a password.
func parseServer(text string) (server, error) {
	form := errors.New("SMTP_URL must be smtps://USER:PASSWORD@HOST:PORT or smtp+starttls://USER:PASSWORD@HOST:PORT, with what is special in the password written as %XX")
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return server{}, form
	}
	s := server{host: u.Hostname(), user: u.User.Username()}
	s.password, _ = u.User.Password()
	switch u.Scheme {
	case "smtps":
		s.tls, s.port = true, 465
	case "smtp+starttls":
		s.port = 587
	case "smtp":
		if s.plain, s.port = true, 25; !httpapi.IsLoopback(s.host) || u.User != nil {
			return server{}, errors.New("SMTP_URL: smtp:// is for a server on this machine, without a password; anybody on the way could read the mail. Use smtps:// or smtp+starttls://")
		}
	default:
		return server{}, form
	}
	if (s.user == "") != (s.password == "") {
		return server{}, errors.New("SMTP_URL must have both a user and a password, or neither")
	}
	if text := u.Port(); text != "" {
		if s.port, err = strconv.Atoi(text); err != nil || s.port < 1 || s.port > 65535 {
			return server{}, form
		}
	}
	return s, nil
}

// stepTime is how long the server may take for each step of a conversation.
const stepTime = 10 * time.Second

// Sender hands letters to the server.
type Sender struct {
	server *secrets.Value
	from   string
	roots  *x509.CertPool // nil: those of the system
	step   time.Duration
}

// SenderFor returns the process's sender, or nil where no mail is sent.
func SenderFor(env *function.Env) *Sender {
	if env.Setting(fromSetting) == "" {
		return nil
	}
	return function.Shared(env, Need, func() *Sender {
		s := &Sender{server: secrets.For(env, serverSetting), from: env.Setting(fromSetting), step: stepTime}
		s.roots, s.step = trusted(env).roots, trusted(env).step
		return s
	})
}

// trust is what a sender trusts, and how long it waits.
type trust struct {
	roots *x509.CertPool
	step  time.Duration
}

func trusted(env *function.Env) trust {
	return function.Once(env, "mail servers", func() trust { return trust{step: stepTime} })
}

// Through has the senders of env trust the servers whose certificates these roots
// have signed, and wait so long for each of their steps. Call it before any is made.
func Through(env *function.Env, roots *x509.CertPool, step time.Duration) {
	function.Once(env, "mail servers", func() trust { return trust{roots, step} })
}

// Letter is a mail.
type Letter struct {
	To      string // the address alone
	Subject string
	Text    string
}

// Refused is the error of a letter that the server does not take, and would not
// another time: most often there is no such mailbox.
type Refused struct{ Code int }

func (r Refused) Error() string {
	return fmt.Sprintf("the mail server refuses the letter for good (%d)", r.Code)
}

// Send hands the letter in. Its error is a Refused if there is no use in trying
// again. No error names the addressee.
func (s *Sender) Send(ctx context.Context, l Letter) error {
	text, err := s.server.Get(ctx)
	if err != nil {
		return err
	}
	at, err := parseServer(text)
	if err != nil {
		return err
	}
	message, err := s.write(l)
	if err != nil {
		return err
	}
	client, err := gomail.NewClient(at.host, s.options(at)...)
	if err != nil {
		return errors.New("the mail server's address cannot be used: correct SMTP_URL")
	}
	err = client.DialAndSendWithContext(ctx, message)
	if message.IsDelivered() { // what follows is good manners
		return nil
	}
	return explain(err)
}

// write makes the message of a letter. The library encodes what is written into a
// header, line breaks too.
func (s *Sender) write(l Letter) (*gomail.Msg, error) {
	message := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := message.From(s.from); err != nil {
		return nil, errors.New("MAIL_FROM is no address that mail can come from")
	}
	// What reads otherwise than it is written would go to somebody else.
	to := (&mail.Address{Address: l.To}).String()
	if read, err := mail.ParseAddress(to); err != nil || read.Address != l.To || message.To(to) != nil {
		return nil, Refused{}
	}
	message.Subject(l.Subject)
	message.SetDate()
	message.SetMessageID()
	// Nobody is there to be answered: out-of-office replies to a robot go nowhere.
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.SetBodyString(gomail.TypeTextPlain, l.Text)
	return message, nil
}

func (s *Sender) options(at server) []gomail.Option {
	options := []gomail.Option{
		gomail.WithPort(at.port), gomail.WithTimeout(s.step),
		gomail.WithTLSConfig(&tls.Config{ServerName: at.host, MinVersion: tls.VersionTLS12, RootCAs: s.roots}),
	}
	switch {
	case at.tls:
		options = append(options, gomail.WithSSL())
	case at.plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if at.user != "" {
		// Over TLS there is nothing that the others would hide better.
		options = append(options, gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthPlain, gomail.SMTPAuthLogin), gomail.WithUsername(at.user), gomail.WithPassword(at.password))
	}
	return options
}

// explain says why a letter was not taken, without its addressee, whom the library
// names.
func explain(err error) error {
	var failed *gomail.SendError
	if !errors.As(err, &failed) {
		return fmt.Errorf("the mail server cannot be used: %w", err)
	}
	if failed.Reason == gomail.ErrSMTPRcptTo && failed.ErrorCode() >= 500 {
		return Refused{failed.ErrorCode()}
	}
	return fmt.Errorf("the mail server did not take a letter: %s (%d)", failed.Reason, failed.ErrorCode())
}
