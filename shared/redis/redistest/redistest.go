// Package redistest gives each test a Redis of its own: one in process, one of
// the databases of the server at REDIS_URL, or a real server where it matters.
package redistest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
)

// URL returns the address of an empty Redis that nobody else uses until the test
// ends.
func URL(t testing.TB) string {
	t.Helper()
	if server := os.Getenv("REDIS_URL"); server != "" {
		return lease(t, server)
	}
	return "redis://" + miniredis.RunT(t).Addr()
}

// Real returns the address of a redis-server of this test's own, for what the
// one in process does not do as Redis does. Without the program the test is
// skipped.
func Real(t testing.TB) string {
	t.Helper()
	return NewServer(t).URL
}

// Server is a redis-server of one test, which may end, start and stop it. It keeps
// nothing on disk.
type Server struct {
	URL string // the same after each start

	t               testing.TB
	program, socket string
	process         *os.Process
	ended           chan struct{}
}

// NewServer starts a server that ends with the test. Without the program the test is
// skipped.
func NewServer(t testing.TB) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on this machine: apt-get install redis-server")
	}
	dir, err := os.MkdirTemp("/tmp", "redistest") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	s := &Server{URL: "unix://" + socket, t: t, program: program, socket: socket}
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// Start starts the server again, empty.
func (s *Server) Start() {
	s.t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(s.program, "--port", "0", "--unixsocket", s.socket, "--dir", filepath.Dir(s.socket), "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.process, s.ended = cmd.Process, ended
	for {
		if conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", s.socket); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			s.t.Fatalf("redis-server ended: %s", said.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	_ = s.process.Kill()
	<-s.ended
}

// Freeze has the server do nothing until Thaw: it takes connections and bytes, as the
// kernel does that for it, and answers none.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw has it go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Signal(signal); err != nil {
		s.t.Error(err)
	}
}

// databases of a server that is shared; 0 keeps the leases.
const databases = 15

// leaseTime is longer than any test: what a killed run leased is free after it.
const leaseTime = 15 * time.Minute

// release gives a lease back unless it is somebody else's by now.
const release = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end`

// lease takes one of the server's databases, empties it and waits while all are
// taken.
func lease(t testing.TB, server string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), leaseTime)
	t.Cleanup(cancel)
	leases := open(t, server, 0)
	t.Cleanup(func() { _ = leases.Close() })
	token := rand.Text()
	for {
		for n := 1; n <= databases; n++ {
			key := fmt.Sprint("redistest:lease:", n)
			err := leases.SetArgs(ctx, key, token, goredis.SetArgs{Mode: "NX", TTL: leaseTime}).Err()
			if err == goredis.Nil {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { leases.Eval(ctx, release, []string{key}, token) })
			own := open(t, server, n)
			defer func() { _ = own.Close() }()
			if err := own.FlushDB(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			return withDatabase(t, server, n)
		}
		select {
		case <-ctx.Done():
			t.Fatal("all databases of the server at REDIS_URL are taken")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func open(t testing.TB, address string, database int) *goredis.Client {
	t.Helper()
	options, err := goredis.ParseURL(address)
	if err != nil {
		t.Fatal("REDIS_URL is not a redis:// URL") // the parser's words may hold the password
	}
	options.DB = database
	return goredis.NewClient(options)
}

// withDatabase returns the address with another database: redis://HOST/N, or
// unix://PATH?db=N.
func withDatabase(t testing.TB, address string, database int) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("REDIS_URL is not a URL")
	}
	if u.Scheme == "unix" {
		query := u.Query()
		query.Set("db", fmt.Sprint(database))
		u.RawQuery = query.Encode()
		return u.String()
	}
	u.Path = fmt.Sprint("/", database)
	return u.String()
}
