package secrets

import (
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

const reference = "projects/p/secrets/s/versions/latest"

// secretManager answers Secret Manager's protocol.
type secretManager struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer
	address string
	stop    func()

	mu      sync.Mutex
	value   string
	damaged bool
	err     error
	reads   int
}

func (m *secretManager) set(value string, damaged bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value, m.damaged, m.err = value, damaged, err
}

func (m *secretManager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

func (m *secretManager) AccessSecretVersion(_ context.Context, in *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	if in.GetName() != reference {
		return nil, status.Error(codes.NotFound, "no such secret: "+in.GetName())
	}
	if m.err != nil {
		return nil, m.err
	}
	sum := int64(crc32.Checksum([]byte(m.value), crc32.MakeTable(crc32.Castagnoli)))
	if m.damaged {
		sum++
	}
	return &secretmanagerpb.AccessSecretVersionResponse{
		Name: reference, Payload: &secretmanagerpb.SecretPayload{Data: []byte(m.value), DataCrc32C: &sum},
	}, nil
}

func newSecretManager(t *testing.T) *secretManager {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &secretManager{address: listener.Addr().String(), value: "first"}
	server := grpc.NewServer()
	m.stop = server.Stop
	secretmanagerpb.RegisterSecretManagerServiceServer(server, m)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return m
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newEnv(raw string, now func() time.Time) *function.Env {
	lookup := func(name string) (string, bool) { return raw, name == "KEY" || name == "OPEN" }
	return function.NewEnv(slog.New(slog.DiscardHandler), now, lookup).
		For(function.Function{Name: "test", Settings: []function.Setting{{Name: "KEY", Secret: true}, {Name: "OPEN"}}})
}

func newValue(t *testing.T, m *secretManager, raw string) (*Value, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	env := newEnv(raw, c.Now)
	v := For(env, "KEY")
	v.options = []option.ClientOption{
		option.WithEndpoint(m.address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	t.Cleanup(func() {
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return v, c
}

func want(t *testing.T, v *Value, value string) {
	t.Helper()
	got, err := v.Get(t.Context())
	if err != nil || got != value {
		t.Errorf("Get() = %q, %v; want %q", got, err, value)
	}
}

func TestPlainValue(t *testing.T) {
	t.Parallel()
	m := newSecretManager(t)
	for _, plain := range []string{"", "plain", "sm:/almost", "not sm://a"} {
		v, _ := newValue(t, m, plain)
		want(t, v, plain)
	}
	if m.count() != 0 {
		t.Error("Secret Manager was asked for a plain value")
	}
}

func TestReferenceIsReadWhenNeededAndOnceAMinute(t *testing.T) {
	t.Parallel()
	m := newSecretManager(t)
	v, clock := newValue(t, m, "sm://"+reference)
	if m.count() != 0 {
		t.Error("read before it was needed")
	}
	for range 3 {
		want(t, v, "first")
	}
	m.set("second", false, nil)
	clock.pass(freshFor - time.Nanosecond)
	want(t, v, "first")
	if m.count() != 1 {
		t.Errorf("read %d times in a minute", m.count())
	}
	clock.pass(time.Nanosecond)
	want(t, v, "second")
}

func TestFailureIsNotRemembered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damaged bool
		err     error
		says    string
	}{
		"damaged":    {damaged: true, says: "checksum"},
		"missing":    {err: status.Error(codes.NotFound, "version not found"), says: "NotFound"},
		"disabled":   {err: status.Error(codes.FailedPrecondition, "is in DISABLED state"), says: "DISABLED"},
		"forbidden":  {err: status.Error(codes.PermissionDenied, "secretmanager.versions.access"), says: "PermissionDenied"},
		"not itself": {err: errors.New("oh"), says: "oh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newSecretManager(t)
			v, clock := newValue(t, m, "sm://"+reference)
			m.set("hunter2", c.damaged, c.err)
			_, err := v.Get(t.Context())
			if fault.From(err).Kind != fault.Unavailable || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "KEY") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
			m.set("good", false, nil)
			want(t, v, "good")

			m.set("worse", c.damaged, c.err)
			clock.pass(freshFor)
			want(t, v, "good") // what was read before serves on
			m.set("better", false, nil)
			want(t, v, "good") // and is not asked for at each use
			clock.pass(freshFor)
			want(t, v, "better")
		})
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	m := newSecretManager(t)
	v, clock := newValue(t, m, "sm://"+reference)
	want(t, v, "first")
	m.stop()
	clock.pass(freshFor)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got, err := v.Get(ctx); err != nil || got != "first" {
		t.Errorf("Get() = %q, %v", got, err)
	}
	never, _ := newValue(t, m, "sm://"+reference)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := never.Get(ctx); fault.From(err).Kind != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestManyReadersReadOnce(t *testing.T) {
	t.Parallel()
	m := newSecretManager(t)
	v, _ := newValue(t, m, "sm://"+reference)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { want(t, v, "first") })
	}
	all.Wait()
	if m.count() != 1 {
		t.Errorf("read %d times", m.count())
	}
}

func TestWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	v := For(newEnv("sm://"+reference, time.Now), "KEY")
	if _, err := v.Get(t.Context()); fault.From(err).Kind != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestOnlyDeclaredSecrets(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a setting that is not declared secret was read as one")
		}
	}()
	For(newEnv("x", time.Now), "OPEN")
}
