package pgtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Proxy stands between a client and PostgreSQL and takes PostgreSQL away at an
// exact moment, or for as long as a test wants.
type Proxy struct {
	URL string // the same database, through the proxy

	mu      sync.Mutex
	dial    func() (net.Conn, error)
	steps   int // taken since the last Restore or BreakAt
	breakAt int // the step that breaks; 0 is none
	broken  bool
	hung    chan struct{} // closed when nothing hangs
	held    chan struct{} // closed when no answer is held back
	open    map[net.Conn]bool
}

// NewProxy returns a proxy to the database at server, until the test ends.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		URL:  throughLoopback(t, server, listener.Addr().String()),
		dial: dialTo(t, server),
		hung: make(chan struct{}),
		held: make(chan struct{}),
		open: map[net.Conn]bool{},
	}
	close(p.hung)
	close(p.held)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.Restore() // whatever hangs goes on, and finds its connection closed
		p.Break()
		serving.Wait()
	})
	return p
}

func dialTo(t testing.TB, server string) func() (net.Conn, error) {
	t.Helper()
	config, err := pgconn.ParseConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	return func() (net.Conn, error) { return (&net.Dialer{}).DialContext(context.Background(), network, address) }
}

// Lead has new connections go to another server.
func (p *Proxy) Lead(t testing.TB, server string) {
	t.Helper()
	dial := dialTo(t, server)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dial = dial
}

// throughLoopback returns the address server with the proxy's host and port.
func throughLoopback(t testing.TB, server, hostPort string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for _, elsewhere := range []string{"host", "port"} {
		query.Del(elsewhere)
	}
	query.Set("sslmode", "disable") // the proxy reads along
	u.Host, u.RawQuery = hostPort, query.Encode()
	return u.String()
}

// BreakAt has the proxy break at the nth step from now: the first is the
// connection, each further one is what a client waits for: its statement, a row,
// the end of an answer. The break takes effect before the step does, except that
// a statement whose answer is lost has run.
func (p *Proxy) BreakAt(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps, p.breakAt = 0, n
}

// Break ends all connections and refuses new ones.
func (p *Proxy) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snap()
}

func (p *Proxy) snap() {
	p.broken = true
	for conn := range p.open {
		_ = conn.Close()
	}
}

// Hang accepts connections and bytes and forwards nothing, until Restore.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hung = make(chan struct{})
}

// Hold forwards statements and keeps back what they answer, until Restore: what a
// client sent has been done, and it does not know.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// Restore ends a break, a hang or a hold; what has broken stays closed.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps, p.breakAt, p.broken = 0, 0, false
	for _, waited := range []chan struct{}{p.hung, p.held} {
		select {
		case <-waited:
		default:
			close(waited)
		}
	}
}

// Broken tells whether the proxy has broken.
func (p *Proxy) Broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// step counts, waits while the proxy hangs or, for an answer, holds, and tells
// whether to go on.
func (p *Proxy) step(counts, answer bool) bool {
	p.mu.Lock()
	if counts {
		p.steps++
		if p.steps == p.breakAt {
			p.snap()
		}
	}
	hung, held, broken := p.hung, p.held, p.broken
	p.mu.Unlock()
	<-hung
	if answer {
		<-held
	}
	return !broken
}

// hold keeps conn to be closed by a break; false when it has broken already.
func (p *Proxy) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[conn] = true
	return !p.broken
}

func (p *Proxy) release(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

func (p *Proxy) serve(client net.Conn) {
	defer p.release(client)
	if !p.hold(client) || !p.step(true, false) {
		return
	}
	p.mu.Lock()
	dial := p.dial
	p.mu.Unlock()
	server, err := dial()
	if err != nil {
		return
	}
	defer p.release(server)
	if !p.hold(server) {
		return
	}
	// The first message of a client has no type.
	var length [4]byte
	if _, err := io.ReadFull(client, length[:]); err != nil {
		return
	}
	if _, err := server.Write(length[:]); err != nil {
		return
	}
	if _, err := io.CopyN(server, client, int64(binary.BigEndian.Uint32(length[:]))-4); err != nil {
		return
	}
	var both sync.WaitGroup
	for _, way := range []struct {
		to, from net.Conn
		steps    string // the types of message that count
		answers  bool   // they are answers
	}{
		{server, client, "QSdc", false}, // Query, Sync, CopyData, CopyDone
		{client, server, "DC", true},    // DataRow, CommandComplete
	} {
		both.Go(func() {
			p.relay(way.to, way.from, way.steps, way.answers)
			_ = way.to.Close()
			_ = way.from.Close()
		})
	}
	both.Wait()
}

// relay forwards messages: a byte of type, four of length, the rest.
func (p *Proxy) relay(to, from net.Conn, steps string, answers bool) {
	in, out := bufio.NewReader(from), bufio.NewWriter(to)
	for {
		head, err := in.Peek(5)
		if err != nil {
			return
		}
		counts := false
		for i := range len(steps) {
			counts = counts || head[0] == steps[i]
		}
		if !p.step(counts, answers && counts) {
			return
		}
		if _, err := io.CopyN(out, in, 1+int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
			return
		}
		if in.Buffered() > 0 {
			continue
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}
