package ratelimit_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// restarted is a redis-server that a test may end and start anew, and which keeps
// what it has acknowledged, as Upstash does, unless it forgets.
type restarted struct {
	dir, socket string
	forgets     bool
	stop        func()
}

func newRestarted(t *testing.T, forgets bool) *restarted {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bound") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &restarted{dir: dir, socket: filepath.Join(dir, "socket"), forgets: forgets}
	r.start(t)
	return r
}

// start starts it and returns when it answers.
func (r *restarted) start(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on this machine: apt-get install redis-server")
	}
	args := []string{"--port", "0", "--unixsocket", r.socket, "--dir", r.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always"}
	if r.forgets {
		args = append(args, "--appendonly", "no")
	}
	cmd := exec.Command(program, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(r.stop)
	admin := connect(t, r.url())
	for admin.Ping(t.Context()).Err() != nil { // refused, or still loading
		if t.Context().Err() != nil {
			t.Fatal("redis-server does not start")
		}
	}
}

func (r *restarted) url() string { return "unix://" + r.socket }

// wantAllExpire fails the test if a key would stay for ever.
func wantAllExpire(t *testing.T, client *goredis.Client, atLeast int) {
	t.Helper()
	ctx := context.Background()
	keys, n := client.Scan(ctx, 0, "*", 1000).Iterator(), 0
	for ; keys.Next(ctx); n++ {
		// -1 is a key that stays, -2 one that has gone meanwhile.
		if left, err := client.PTTL(ctx, keys.Val()).Result(); err != nil || left == -1 {
			t.Errorf("%s stays: %v, %v", keys.Val(), left, err)
		}
	}
	if err := keys.Err(); err != nil || n < atLeast {
		t.Errorf("%d keys, %v; want %d to judge", n, err, atLeast)
	}
}

const (
	instances = 8
	emission  = 10 * time.Millisecond
	burst     = 20
	skew      = 50 * time.Millisecond
)

// Eight processes with clocks up to 100 ms apart admit no more together than a burst
// and what is restored in the time, though Redis loses its scripts in the middle and
// is killed and started anew. Where it has lost the limits by that, it is a second
// burst, not one for each process.
func TestAdmittedIsBounded(t *testing.T) {
	t.Parallel()
	for name, forgets := range map[string]bool{"Redis remembers": false, "Redis forgets": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newRestarted(t, forgets)
			admin := connect(t, server.url())
			admitted := &counter{}
			var stops []func()
			began := time.Now()
			for i := range instances {
				offset := []time.Duration{0, skew, -skew}[i%3]
				stops = append(stops, startInstance(t, server.url(), offset, admitted))
			}
			// A whole burst and 20 more, so every phase is one with refusals.
			until := func(n int64) {
				for admitted.n.Load() < n {
					if t.Context().Err() != nil {
						t.Fatal("too few are admitted")
					}
					<-time.After(emission)
				}
			}
			until(burst + 20)
			if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			until(burst + 40)
			wantAllExpire(t, admin, 1)
			server.stop()
			server.start(t)
			until(burst + 80)
			n, took := admitted.n.Load(), time.Since(began)
			for _, stop := range stops {
				stop()
			}
			bursts := 1
			if forgets {
				bursts = 2
			}
			// The clocks are 2*skew apart: the one ahead is granted that much sooner, of each
			// life of the limit.
			most := int64(bursts*(burst+int(2*skew/emission)+1)) + int64(took/emission)
			if n > most {
				t.Errorf("%d admitted in %v, want at most %d", n, took, most)
			}
			wantAllExpire(t, admin, 0)
		})
	}
}

// As they serve, processes that find Redis gone go on alone: with what they knew of
// the limit, so that each restores its part of it from then on and none has a burst.
func TestAdmittedIsBoundedWithoutRedis(t *testing.T) {
	t.Parallel()
	server := newRestarted(t, false)
	var admitted [instances]*counter
	var stops []func()
	began := time.Now()
	for i := range admitted {
		admitted[i] = &counter{}
		stops = append(stops, startInstance(t, server.url(), 0, admitted[i], "RATELIMIT_HASTY=1"))
	}
	sum := func() (n int64) {
		for _, c := range admitted {
			n += c.n.Load()
		}
		return n
	}
	// All have taken part, and so know of the limit.
	for sum() < burst+100 || slices.ContainsFunc(admitted[:], func(c *counter) bool { return c.n.Load() == 0 }) {
		if t.Context().Err() != nil {
			t.Fatal("not all take part")
		}
		<-time.After(emission)
	}
	gone := time.Now()
	server.stop()
	<-time.After(500 * time.Millisecond)
	n := sum()
	took, alone := time.Since(began), time.Since(gone)
	for _, stop := range stops {
		stop()
	}
	// What an instance knew may be some requests old: of half a burst at most, on a busy
	// machine.
	most := burst + int64((took-alone)/emission) + instances*(int64(alone/emission)+burst/2)
	if n > most || n < burst+100+instances {
		t.Errorf("%d admitted in %v, %v of them without Redis; want at most %d", n, took, alone, most)
	}
}

// counter counts what is written to it.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// startInstance starts a process that asks to be admitted without pause until it is
// stopped, and writes a byte for each time that it was.
func startInstance(t *testing.T, url string, offset time.Duration, admitted *counter, settings ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInstance$", "-test.v=false")
	cmd.Env = append(append(os.Environ(), settings...), "RATELIMIT_INSTANCE="+url, "RATELIMIT_OFFSET="+offset.String(), "GORACE=atexit_sleep_ms=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = admitted
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("an instance: %v\n%s", err, complaint.String())
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestInstance is a process of TestAdmittedIsBounded: it does nothing in any other.
func TestInstance(t *testing.T) {
	url := os.Getenv("RATELIMIT_INSTANCE")
	if url == "" {
		return
	}
	offset, err := time.ParseDuration(os.Getenv("RATELIMIT_OFFSET"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Now().Add(offset) }
	l := ratelimit.New(connect(t, url), 1, now, discard)
	if os.Getenv("RATELIMIT_HASTY") != "" {
		l = ratelimit.NewHasty(serving(t, url), 1, now, discard)
	}
	p := policy("bound", burst, burst*emission)
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(io.Discard, os.Stdin) }()
	for {
		select {
		case <-ended:
			os.Exit(0) // before the summary of the tests is written among the bytes
		default:
		}
		if l.Take(t.Context(), nil, key(p, 1)).Allowed {
			_, _ = os.Stdout.Write([]byte{1})
		}
	}
}

// cut is a connection that breaks at its nth write or read: before it happens, or
// after.
type cut struct {
	net.Conn
	left  *atomic.Int64
	after bool
}

func (c *cut) do(b []byte, do func([]byte) (int, error)) (int, error) {
	last := c.left.Add(-1) == 0
	if last && !c.after {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	n, err := do(b)
	if last {
		_ = c.Close()
		return n / 2, net.ErrClosed
	}
	return n, err
}

func (c *cut) Write(b []byte) (int, error) { return c.do(b, c.Conn.Write) }
func (c *cut) Read(b []byte) (int, error)  { return c.do(b, c.Conn.Read) }

// Wherever an instance dies, what it leaves in Redis goes by itself, and the
// decision counts: an instance that carries on after it admits no more.
func TestNothingStaysInRedisWhereverAnInstanceDies(t *testing.T) {
	t.Parallel()
	url := redistest.Real(t)
	admin := connect(t, url)
	account := key(&ratelimit.Backoff.Policy, 7)
	for n := range int64(24) {
		for _, after := range []bool{false, true} {
			options, err := goredis.ParseURL(url)
			if err != nil {
				t.Fatal(err)
			}
			var left atomic.Int64
			left.Store(n + 1)
			options.DisableIdentity, options.MaxRetries = true, 1
			options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
				return &cut{conn, &left, after}, err
			}
			client := goredis.NewClient(options)
			c := newClock()
			l := ratelimit.New(client, 1, c.now, discard)
			p, q := policy(fmt.Sprintf("cut-%d-%v", n, after), 3, time.Hour), policy("beside", 1000, time.Hour)
			admitted := 0
			for range 6 {
				if l.Take(t.Context(), &account, key(p, 1), key(q, 1)).Allowed {
					admitted++
				}
			}
			l.Fail(t.Context(), account)
			if admitted > 3 {
				t.Errorf("cut at %d (%v): %d admitted, want at most 3", n, after, admitted)
			}
			wantAllExpire(t, admin, 0)
			l.Succeed(t.Context(), account)
			_ = admin.Del(t.Context(), account.RedisName()).Err()
			_ = client.Close()
		}
	}
	wantAllExpire(t, admin, 10)
}
