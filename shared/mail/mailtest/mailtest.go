// Package mailtest gives tests a mail server of their own. It speaks SMTP as servers
// do, keeps what it is handed, and hangs, refuses or drops where it is told to.
package mailtest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Letter is what the server was handed.
type Letter struct {
	From, To string // of the envelope
	Header   mail.Header
	Text     string
	Raw      string
}

// The user whom the server knows, if it asks who is there.
const (
	User     = "dash@example.com"
	Password = "p@ss:word/%"
)

// Hang and Drop are answers that are none.
const (
	Hang = "hang"
	Drop = "drop"
)

// Server is a mail server on this machine.
type Server struct {
	// Answers are given in place of those that a server would give: by verb, by
	// "GREETING" when somebody has connected, and by "LETTER" when all of one has come.
	Answers map[string]string
	// Asks has the server take mail of its user alone.
	Asks bool
	// NoTLS has it offer no STARTTLS.
	NoTLS bool
	// Mechanisms are how somebody may say who they are.
	Mechanisms string

	Roots *x509.CertPool // by which its certificate is good

	t        testing.TB
	listener net.Listener
	config   *tls.Config
	implicit bool

	mu      sync.Mutex
	letters []Letter
	spoken  []string
	open    map[net.Conn]bool
	all     sync.WaitGroup
	gone    chan struct{}
}

// New returns a server that has yet to be started. One that is implicit speaks TLS
// from the first byte.
func New(t testing.TB, implicit bool) *Server {
	t.Helper()
	// Of net/http's server, whose certificate is for 127.0.0.1 and example.com.
	lender := httptest.NewTLSServer(nil)
	lender.Close()
	s := &Server{
		t: t, implicit: implicit, Mechanisms: "PLAIN LOGIN", Answers: map[string]string{}, Roots: x509.NewCertPool(),
		config: lender.TLS.Clone(), open: map[net.Conn]bool{}, gone: make(chan struct{}),
	}
	s.config.NextProtos = nil
	s.Roots.AddCert(lender.Certificate())
	return s
}

// Start has the server answer, and returns its host and port.
func (s *Server) Start() string {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.listener = listener
	s.all.Go(s.accept)
	s.t.Cleanup(s.Stop)
	return listener.Addr().String()
}

// Stop ends all conversations.
func (s *Server) Stop() {
	s.mu.Lock()
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
	_ = s.listener.Close()
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.all.Wait()
}

// Letters returns what was handed in.
func (s *Server) Letters() []Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.letters)
}

// Spoken returns the verbs of all clients.
func (s *Server) Spoken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spoken)
}

// Answer changes an answer; "" is what a server would say.
func (s *Server) Answer(verb, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Answers[verb] = answer
}

func (s *Server) answer(verb string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoken = append(s.spoken, verb)
	return s.Answers[verb]
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[c] = true
		s.mu.Unlock()
		s.all.Go(func() {
			defer func() {
				_ = c.Close()
				s.mu.Lock()
				delete(s.open, c)
				s.mu.Unlock()
			}()
			if s.implicit {
				s.converse(tls.Server(c, s.config), true)
				return
			}
			s.converse(c, false)
		})
	}
}

// conversation is one client's.
type conversation struct {
	*Server
	conn   net.Conn
	lines  *textproto.Reader
	secret bool // under TLS
	known  bool
	letter Letter
}

func (s *Server) converse(conn net.Conn, secret bool) {
	c := &conversation{Server: s, conn: conn, lines: textproto.NewReader(bufio.NewReader(conn)), secret: secret}
	if !c.say("GREETING", "220 mail.example.com ESMTP") {
		return
	}
	for {
		line, err := c.lines.ReadLine()
		if err != nil || !c.obey(line) {
			return
		}
	}
}

// say gives an answer, and tells whether the conversation goes on.
func (c *conversation) say(verb, answer string) bool {
	switch told := c.answer(verb); told {
	case "":
	case Hang:
		<-c.gone
		return false
	case Drop:
		return false
	default:
		answer = told
	}
	_, err := fmt.Fprint(c.conn, answer+"\r\n")
	return err == nil
}

func (c *conversation) obey(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO":
		offers := []string{"250-mail.example.com", "250-8BITMIME"}
		if !c.secret && !c.NoTLS {
			offers = append(offers, "250-STARTTLS")
		}
		if c.Asks && (c.secret || c.NoTLS) {
			offers = append(offers, "250-AUTH "+c.Mechanisms)
		}
		return c.say(verb, strings.Join(append(offers, "250 ENHANCEDSTATUSCODES"), "\r\n"))
	case "STARTTLS":
		if !c.say(verb, "220 2.0.0 Go on") {
			return false
		}
		encrypted := tls.Server(c.conn, c.config)
		c.conn, c.lines, c.secret = encrypted, textproto.NewReader(bufio.NewReader(encrypted)), true
		return true
	case "AUTH":
		return c.auth(rest)
	case "MAIL":
		if c.Asks && !c.known {
			return c.say(verb, "530 5.7.0 Say who you are")
		}
		c.letter = Letter{From: between(rest)}
		return c.say(verb, "250 2.1.0 Well")
	case "RCPT":
		c.letter.To = between(rest)
		return c.say(verb, "250 2.1.5 Well")
	case "DATA":
		if !c.say(verb, "354 Go on") {
			return false
		}
		if c.Answers[verb] != "" { // no letter comes
			return true
		}
		return c.data()
	case "QUIT":
		c.say(verb, "221 2.0.0 Well")
		return false
	case "RSET", "NOOP":
		return c.say(verb, "250 2.0.0 Well")
	}
	return c.say(verb, "502 5.5.1 What?")
}

func (c *conversation) auth(rest string) bool {
	mechanism, first, _ := strings.Cut(rest, " ")
	var user, password string
	switch mechanism {
	case "PLAIN":
		parts := strings.Split(decode(first), "\x00")
		if len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		user, password = c.ask("VXNlcm5hbWU6"), c.ask("UGFzc3dvcmQ6")
	}
	if user != User || password != Password {
		return c.say("AUTH", "535 5.7.8 Nobody of that name")
	}
	c.known = true
	return c.say("AUTH", "235 2.7.0 Well")
}

func (c *conversation) ask(what string) string {
	fmt.Fprint(c.conn, "334 "+what+"\r\n")
	line, _ := c.lines.ReadLine()
	return decode(line)
}

func (c *conversation) data() bool {
	raw, err := io.ReadAll(c.lines.DotReader())
	if err != nil {
		return false
	}
	if told := c.Answers["LETTER"]; told == "" {
		c.keep(string(raw))
	}
	return c.say("LETTER", "250 2.0.0 Well")
}

func (c *conversation) keep(raw string) {
	l := c.letter
	l.Raw = raw
	message, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		c.t.Errorf("a letter that nobody can read: %v\n%s", err, raw)
		return
	}
	l.Header = message.Header
	var body io.Reader = message.Body
	if strings.EqualFold(l.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		c.t.Error(err)
	}
	l.Text = strings.ReplaceAll(string(text), "\r\n", "\n")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letters = append(c.letters, l)
}

func decode(text string) string {
	b, _ := base64.StdEncoding.DecodeString(text)
	return string(b)
}

// between returns what stands between < and >.
func between(text string) string {
	_, rest, _ := strings.Cut(text, "<")
	inside, _, _ := strings.Cut(rest, ">")
	return inside
}
