package ratelimit_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// restarted is a redis-server that a test may end and start anew.
type restarted struct {
	dir, socket string
	stop        func()
}

// start starts it, with nothing of before, and returns when it answers.
func (r *restarted) start(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("no redis-server on this machine: apt-get install redis-server")
	}
	cmd := exec.Command(program, "--port", "0", "--unixsocket", r.socket, "--dir", r.dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(r.stop)
	for {
		if conn, err := net.Dial("unix", r.socket); err == nil {
			_ = conn.Close()
			return
		}
	}
}

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

// Eight instances with clocks up to 100 ms apart admit no more together than a
// burst and what has been restored since, though Redis loses its scripts in the
// middle. After a restart that loses the limits too it is a second burst at most,
// never one for each instance.
func TestAdmittedIsBounded(t *testing.T) {
	t.Parallel()
	const (
		instances = 8
		emission  = 10 * time.Millisecond
		burst     = 20
		phase     = 400 * time.Millisecond
		skew      = 50 * time.Millisecond
	)
	dir, err := os.MkdirTemp("/tmp", "bound") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server := &restarted{dir: dir, socket: filepath.Join(dir, "socket")}
	server.start(t)
	admin := connect(t, "unix://"+server.socket)
	p := policy("bound", burst, burst*emission)

	start := time.Now()
	var admitted [3]atomic.Int64 // in each phase
	var now atomic.Int64         // the phase
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range instances {
		offset := []time.Duration{0, skew, -skew}[i%3]
		client := connect(t, "unix://"+server.socket) // an instance has connections of its own
		l := ratelimit.New(client, 1, func() time.Time { return time.Now().Add(offset) }, discard)
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				at := now.Load()
				if l.Take(context.Background(), nil, key(p, 1)).Allowed {
					admitted[at].Add(1)
				}
			}
		})
	}
	took := [3]time.Duration{}
	for i := range took {
		began := time.Now()
		now.Store(int64(i))
		<-time.After(phase)
		if i == 0 { // the scripts are gone, the limits are not
			if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		}
		if i == 1 {
			wantAllExpire(t, admin, 1)
			server.stop()
			server.start(t)
		}
		took[i] = time.Since(began)
	}
	close(done)
	all.Wait()
	total := time.Since(start)
	// The clocks are 2*skew apart: the one ahead is granted that much sooner.
	bound := func(t time.Duration, bursts int) int64 {
		return int64(bursts*burst) + int64((t+2*skew)/emission) + 1
	}
	before := admitted[0].Load() + admitted[1].Load()
	sum := before + admitted[2].Load()
	if most := bound(took[0]+took[1], 1); before > most || before < int64(phase/emission) {
		t.Errorf("%d admitted through a script flush, want at most %d", before, most)
	}
	// Instances that decide alone while Redis is away admit, beside what Redis has
	// admitted, what their own limits restore in that time.
	if most := bound(total, 2) + instances*int64((took[1]-phase)/emission+1); sum > most {
		t.Errorf("%d admitted through a restart, want at most %d", sum, most)
	}
	wantAllExpire(t, admin, 0)
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
