package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/postgres/server"
)

// Server is a PostgreSQL server of one test, which may end and start it. URL is a
// migrated database of it, at the same address after each start.
type Server struct {
	URL string

	t       testing.TB
	options server.Options
	running *server.Server
}

// NewServer starts a server that ends with the test. It takes a second or two:
// most outages are had for less from a Proxy.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, server.Options{})
}

// NewDurableServer starts one that answers no sooner than a commit is on disk, as
// in production: for measurements.
func NewDurableServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, server.Options{Durable: true})
}

func newServer(t testing.TB, options server.Options) *Server {
	t.Helper()
	// Not t.TempDir, which the server's account may not enter.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	options.Dir = filepath.Join(dir, "server")
	s := &Server{t: t, options: options}
	s.Start()
	t.Cleanup(func() {
		if err := s.running.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.URL = s.running.URL("postgres")
	if _, err := migrate.Up(context.Background(), s.URL); err != nil {
		t.Fatal(err)
	}
	return s
}

// Start starts the server again.
func (s *Server) Start() {
	s.t.Helper()
	running, err := server.Start(context.Background(), s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.running = running
}

// Stop stops the server as an operator does: its clients are told.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.running.Stop(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// FailOver ends the server as a crash does and starts another with its data, at an
// address of its own: a standby, which writes nothing until it is promoted. The
// server has to be a durable one.
func (s *Server) FailOver() {
	s.t.Helper()
	var data string
	s.ask("SHOW data_directory", &data)
	s.Kill()
	next := filepath.Join(filepath.Dir(s.options.Dir), "standby")
	if err := os.Rename(s.options.Dir, next); err != nil {
		s.t.Fatal(err)
	}
	signal := filepath.Join(next, filepath.Base(data), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.options.Dir = next
	// What the server had begun ends by itself, and until then nobody else gets its data.
	for patience := time.Now().Add(startTime); ; {
		running, err := server.Start(context.Background(), s.options)
		if err == nil {
			s.running = running
			break
		}
		if time.Now().After(patience) {
			s.t.Fatal(err)
		}
	}
	s.URL = s.running.URL("postgres")
}

// startTime is how long a standby may take to get hold of the data of the server
// before it.
const startTime = 20 * time.Second

// Promote has a standby become the server that writes.
func (s *Server) Promote() {
	s.t.Helper()
	var promoted bool
	if s.ask("SELECT pg_promote()", &promoted); !promoted {
		s.t.Fatal("the standby was not promoted")
	}
}

// ask runs a statement that answers one value.
func (s *Server) ask(sql string, into any) {
	s.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, sql).Scan(into); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.running.Kill() }
