package ratelimit_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// said returns level and message of each line.
func (l *lines) said() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var said []string
	for d := json.NewDecoder(bytes.NewReader(l.text.Bytes())); d.More(); {
		var line struct{ Level, Msg string }
		if d.Decode(&line) != nil {
			break
		}
		said = append(said, line.Level+" "+line.Msg)
	}
	return said
}

const (
	away = "WARN Redis is of no use: this instance limits its callers by itself"
	back = "INFO Redis is of use again: limits hold across instances"
)

// serving returns a client as functions use one.
func serving(t *testing.T, url string) *goredis.Client {
	t.Helper()
	options, err := redis.Options(url)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// bad serves connections on loopback as a test likes.
func bad(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	ctx := t.Context()
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer func() { _ = conn.Close() }()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); open.Wait() })
	return "redis://" + listener.Addr().String()
}

// saying is a Redis that answers every command with the same.
func saying(t *testing.T, answer string) string {
	fake := miniredis.RunT(t)
	fake.Server().SetPreHook(func(c *server.Peer, _ string, _ ...string) bool {
		c.WriteError(answer)
		return true
	})
	return "redis://" + fake.Addr()
}

// full is a real Redis that takes no more writes.
func full(t *testing.T) string {
	url := redistest.Real(t)
	admin := connect(t, url)
	for name, value := range map[string]string{"maxmemory-policy": "noeviction", "maxmemory": "1"} {
		if err := admin.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return url
}

// readOnly is a real Redis that has become a replica of one that is not there.
func readOnly(t *testing.T) string {
	url := redistest.Real(t)
	if err := connect(t, url).Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	return url
}

// wantInTime fails the test if do takes more than the 250 ms within which an instance
// goes on alone; on a machine with other work to do, so much longer as a timer that was
// set meanwhile is late.
func wantInTime(t *testing.T, what string, do func()) {
	t.Helper()
	const most = 250 * time.Millisecond
	began, late := time.Now(), make(chan time.Duration, 1)
	time.AfterFunc(most, func() { late <- time.Since(began) - most })
	do()
	if took := time.Since(began); took > most {
		if late := <-late; took > most+2*late {
			t.Errorf("%s took %v; a timer was late by %v", what, took, late)
		}
	}
}

// Whatever Redis does, a decision comes in time, Redis is left alone soon, the
// limits hold, and the log says so once.
func TestRedisThatIsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"refuses": func(*testing.T) string { return "redis://127.0.0.1:1" },
		"hangs":   func(t *testing.T) string { return bad(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) },
		"hangs in TLS": func(t *testing.T) string {
			return "rediss" + strings.TrimPrefix(bad(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "redis")
		},
		"resets": func(t *testing.T) string { return bad(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }) },
		"talks at once": func(t *testing.T) string {
			return bad(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
			})
		},
		"never ends": func(t *testing.T) string {
			return bad(t, func(c net.Conn) {
				for { // an answer that grows and grows
					if _, err := io.WriteString(c, "*6\r\n:1\r\n"); err != nil {
						return
					}
				}
			})
		},
		"half open": func(t *testing.T) string {
			return bad(t, func(c net.Conn) { // answers the handshake, then nothing
				r := bufio.NewReader(c)
				_, _ = r.ReadString('\n')
				_, _ = io.WriteString(c, "-ERR unknown command 'HELLO'\r\n")
				_, _ = io.Copy(io.Discard, r)
			})
		},
		"is full":          full,
		"is a replica":     readOnly,
		"loads":            func(t *testing.T) string { return saying(t, "LOADING Redis is loading the dataset in memory") },
		"fails over":       func(t *testing.T) string { return saying(t, "READONLY You can't write against a read only replica.") },
		"wants a password": func(t *testing.T) string { return saying(t, "NOAUTH Authentication required.") },
		"runs no scripts":  func(t *testing.T) string { return saying(t, "ERR unknown command 'evalsha'") },
		"answers of another script": func(t *testing.T) string {
			fake := miniredis.RunT(t)
			fake.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				if strings.HasPrefix(strings.ToUpper(cmd), "EVAL") {
					c.WriteLen(2)
					c.WriteInt(7)
					c.WriteInt(1000)
					return true
				}
				return false
			})
			return "redis://" + fake.Addr()
		},
		"answers nonsense": func(t *testing.T) string {
			fake := miniredis.RunT(t)
			fake.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				if strings.HasPrefix(strings.ToUpper(cmd), "EVAL") {
					c.WriteInline("yes")
					return true
				}
				return false
			})
			return "redis://" + fake.Addr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, count, log, c := serving(t, url(t)), &counted{}, &lines{}, newClock()
			client.AddHook(count)
			l := ratelimit.NewHasty(client, 1, c.now, log.logger())
			open, secret := policy("open", 6, time.Minute), policy("secret", 6, time.Minute)
			secret.Secret = true
			admitted := map[*ratelimit.Policy]int{}
			for range 20 {
				for _, p := range []*ratelimit.Policy{open, secret} {
					wantInTime(t, "a decision", func() {
						if l.Take(t.Context(), nil, key(p, 1)).Allowed {
							admitted[p]++
						}
					})
				}
			}
			if admitted[open] != 6 || admitted[secret] != 3 {
				t.Errorf("admitted %d and %d of a secret's, want 6 and 3", admitted[open], admitted[secret])
			}
			// Three decisions ask; each may try two connections or scripts.
			if n := count.sent(); n > 12 {
				t.Errorf("%d commands to a Redis of no use", n)
			}
			before := count.sent()
			account := key(&ratelimit.Backoff.Policy, 7)
			for range ratelimit.Backoff.Free {
				l.Fail(t.Context(), account)
			}
			wantRefused(t, "after failures", l.Take(t.Context(), &account, key(open, 2)), account.Policy, time.Second)
			l.Succeed(t.Context(), account)
			if d := l.Take(t.Context(), &account, key(open, 2)); !d.Allowed || d.Failed {
				t.Errorf("after a success: %+v", d)
			}
			if n := count.sent() - before; n != 0 {
				t.Errorf("%d commands to a Redis that is left alone", n)
			}
			if said := log.said(); !slices.Equal(said, []string{away}) {
				t.Errorf("the log says %q", said)
			}
			c.move(time.Hour)
			wantAllowed(t, "an hour later", l.Take(t.Context(), nil, key(open, 1)), 5, 10*time.Second)
		})
	}
}

// The log says why, and a request waits for Redis once, whatever it asks of it.
func TestRequestWaitsOnceAndTheLogSaysWhy(t *testing.T) {
	t.Parallel()
	socket := redistest.Real(t)
	for name, slow := range map[string]func(client net.Conn){
		"answers 5 s late": func(c net.Conn) {
			server, err := net.Dial("unix", strings.TrimPrefix(socket, "unix://"))
			if err != nil {
				return
			}
			defer func() { _ = server.Close() }()
			go func() { _, _ = io.Copy(server, c) }()
			answer := make([]byte, 4096)
			for {
				n, err := server.Read(answer)
				if err != nil {
					return
				}
				select {
				case <-time.After(5 * time.Second):
				case <-t.Context().Done():
					return
				}
				if _, err := c.Write(answer[:n]); err != nil {
					return
				}
			}
		},
		"resets in mid-answer": func(c net.Conn) {
			server, err := net.Dial("unix", strings.TrimPrefix(socket, "unix://"))
			if err != nil {
				return
			}
			defer func() { _ = server.Close() }()
			go func() { _, _ = io.Copy(server, c) }()
			_, _ = io.CopyN(c, server, 5)
			_ = c.(*net.TCPConn).SetLinger(0)
		},
		"takes and never answers": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lines{}
			h := newHouse(t, ratelimit.NewHasty(serving(t, bad(t, slow)), 10, newClock().now, log.logger()))
			for range 6 {
				wantInTime(t, "a request", func() {
					if w := h.get(t, "/sign-in?account=1", "192.0.2.1"); w.Code != 401 && w.Code != 429 {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
			if h.work != 5 {
				t.Errorf("%d attempts were let in, want the five that may fail", h.work)
			}
			if said := log.said(); !slices.Equal(said, []string{away}) || !strings.Contains(log.text.String(), `"error":"`) {
				t.Errorf("the log says %s", log.text.String())
			}
		})
	}
}

// Many requests at once are not held up by each other.
func TestManyWaitNoLongerThanOne(t *testing.T) {
	t.Parallel()
	l := ratelimit.NewHasty(serving(t, bad(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })), 1, newClock().now, discard)
	p := policy("many", 5, time.Hour)
	var admitted atomic.Int64
	var all sync.WaitGroup
	wantInTime(t, "all together", func() {
		for range 200 {
			all.Go(func() {
				if l.Take(t.Context(), nil, key(p, 1)).Allowed {
					admitted.Add(1)
				}
			})
		}
		all.Wait()
	})
	if admitted.Load() != 5 {
		t.Errorf("%d admitted", admitted.Load())
	}
}

// When a Redis that worked goes away, nobody gets a burst anew; when it is back,
// it is asked again. The log says each once.
func TestRedisGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	var down atomic.Bool
	fake.Server().SetPreHook(func(c *server.Peer, _ string, _ ...string) bool {
		if down.Load() {
			c.WriteError("ERR down")
		}
		return down.Load()
	})
	client := serving(t, "redis://"+fake.Addr())
	log := &lines{}
	open, secret := policy("open", 6, time.Hour), policy("secret", 6, time.Hour)
	secret.Secret = true
	synctest.Test(t, func(t *testing.T) { // the breaker's rest is by its own clock
		c := newClock()
		l := ratelimit.New(client, 1, c.now, log.logger())
		admit := func(p *ratelimit.Policy) (n int) {
			for range 20 {
				if l.Take(t.Context(), nil, key(p, 1)).Allowed {
					n++
				}
			}
			return n
		}
		for range 4 {
			l.Take(t.Context(), nil, key(open, 1), key(secret, 1))
		}
		down.Store(true)
		if n, of := admit(open), admit(secret); n != 2 || of != 1 {
			t.Errorf("%d and %d more of limits with 2 left, want 2 and, of a secret's, half", n, of)
		}
		time.Sleep(6 * time.Second)
		// Its rest is over: one request finds out that Redis is still away.
		l.Take(t.Context(), nil, key(open, 2))
		time.Sleep(6 * time.Second)
		down.Store(false)
		l.Take(t.Context(), nil, key(open, 3))
		if !fake.Exists(key(open, 3).RedisName()) {
			t.Error("Redis is back and not asked")
		}
		if n := admit(open); n != 2 { // Redis has not seen those in between
			t.Errorf("%d more by Redis, want 2", n)
		}
		_ = client.Close()
	})
	if said := log.said(); !slices.Equal(said, []string{away, back}) {
		t.Errorf("the log says %q", said)
	}
}

// What Redis said of each limit is what an instance goes on with.
func TestEachLimitGoesOnFromWhereItStood(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	client, c := serving(t, "redis://"+fake.Addr()), newClock()
	l, other := ratelimit.New(client, 1, c.now, discard), ratelimit.New(client, 1, c.now, discard)
	few, many := policy("few", 3, time.Hour), policy("many", 9, time.Hour)
	for range 2 {
		other.Take(t.Context(), nil, key(many, 1), key(few, 1))
	}
	other.Take(t.Context(), nil, key(many, 1))
	l.Take(t.Context(), nil, key(many, 1), key(few, 1)) // few: none left; many: 5
	l.Take(t.Context(), nil, key(few, 2))
	for range 2 {
		other.Take(t.Context(), nil, key(few, 2))
	}
	wantRefused(t, "by Redis", l.Take(t.Context(), nil, key(few, 2)), few, 20*time.Minute)
	fake.Close()
	c.move(19 * time.Minute)
	wantRefused(t, "few", l.Take(t.Context(), nil, key(few, 1)), few, time.Minute)
	wantRefused(t, "few, of which a refusal told", l.Take(t.Context(), nil, key(few, 2)), few, time.Minute)
	c.move(time.Minute)
	wantAllowed(t, "few, when one is restored", l.Take(t.Context(), nil, key(few, 2)), 0, time.Hour)
	wantRefused(t, "and no more", l.Take(t.Context(), nil, key(few, 2)), few, 20*time.Minute)
	wantAllowed(t, "many", l.Take(t.Context(), nil, key(many, 1)), 7, 13*time.Minute+20*time.Second)
}

// A caller who leaves says nothing about Redis, and is counted there.
func TestCallersWhoLeave(t *testing.T) {
	t.Parallel()
	log, c, client := &lines{}, newClock(), connect(t, redistest.URL(t))
	l := ratelimit.New(client, 1, c.now, log.logger())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	p, n := policy("left", 3, time.Hour), 0
	for range 20 {
		if l.Take(gone, nil, key(p, 1)).Allowed {
			n++
		}
	}
	if d := ratelimit.New(client, 1, c.now, discard).Take(t.Context(), nil, key(p, 1)); d.Allowed {
		t.Errorf("another instance knows nothing of them: %+v", d)
	}
	if said := log.said(); n != 3 || len(said) != 0 {
		t.Errorf("%d admitted, the log says %q", n, said)
	}
}

// As Upstash serves it: over TLS, with a password.
func TestOverTLSWithAPassword(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)

	socket := redistest.Real(t)
	if err := connect(t, socket).ConfigSet(t.Context(), "requirepass", "secret").Err(); err != nil {
		t.Fatal(err)
	}
	url := bad(t, func(c net.Conn) { // a TLS front of a redis-server that has none
		front := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}})
		server, err := net.Dial("unix", strings.TrimPrefix(socket, "unix://"))
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		go func() { _, _ = io.Copy(server, front); _ = server.Close() }()
		_, _ = io.Copy(front, server)
	})
	for password, want := range map[string][]string{"secret": nil, "wrong": {away}} {
		options, err := goredis.ParseURL(fmt.Sprintf("rediss://default:%s@%s", password, strings.TrimPrefix(url, "redis://")))
		if err != nil {
			t.Fatal(err)
		}
		options.TLSConfig.RootCAs = roots
		client := goredis.NewClient(options)
		defer func() { _ = client.Close() }()
		log, c, p := &lines{}, newClock(), policy("tls", 4, time.Hour)
		n := 0
		for range 10 {
			if ratelimit.New(client, 1, c.now, log.logger()).Take(t.Context(), nil, key(p, 1)).Allowed {
				n++
			}
		}
		if password == "secret" && n != 4 {
			t.Errorf("%d admitted over TLS, want 4", n)
		}
		l := ratelimit.New(client, 1, c.now, log.logger())
		for i := range 3 {
			l.Take(t.Context(), nil, key(p, byte(10+i)))
		}
		if said := log.said(); !slices.Equal(said, want) {
			t.Errorf("with the password %q the log says %q", password, said)
		}
	}
}
