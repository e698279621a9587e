package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/redis"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

func newEnv(url string) *function.Env {
	lookup := func(name string) (string, bool) { return url, name == "REDIS_URL" }
	return function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup).
		For(function.Function{Name: "test", Needs: []function.Need{redis.Need}})
}

func TestOneClientUntilTheStop(t *testing.T) {
	t.Parallel()
	env := newEnv(redistest.URL(t))
	db := redis.For(env)
	if redis.For(env) != db {
		t.Error("two functions of a process have two databases")
	}
	commands, err := db.Commands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := db.Commands(t.Context()); err != nil || again != commands {
		t.Errorf("a second client: %v", err)
	}
	if err := commands.Send(t.Context(), []any{"PING"}); err != nil {
		t.Error(err)
	}
	if err := env.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := commands.Send(t.Context(), []any{"PING"}); !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("after the stop: %v", err)
	}
}

// A script is sent as its hash, and whole where Redis does not have it.
func TestScriptsRun(t *testing.T) {
	t.Parallel()
	env := newEnv(redistest.URL(t))
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	commands, err := redis.For(env).Commands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int64{"return 7": {7}, "return {1, tonumber(ARGV[1])}": {1, 5}, "return {}": {}} {
		for range 2 {
			got, err := commands.Run(t.Context(), redis.NewScript(text), []string{"k"}, 5)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v", text, got, err)
			}
		}
	}
	if got, err := commands.Run(t.Context(), redis.NewScript("return redis.error_reply('NO')"), nil); err == nil {
		t.Errorf("an error is %v", got)
	}
	if err := commands.Send(t.Context(), []any{"PING"}, []any{"NO-SUCH"}, []any{"PING"}); err == nil {
		t.Error("a command that there is not was taken")
	}
}

// To make the client asks nobody anything: what go-redis would, it would ask of the
// name server, past every deadline of ours.
func TestClientIsMadeWithoutLookingItsHostUp(t *testing.T) {
	t.Parallel()
	client, err := redis.For(newEnv("rediss://default:secret@redis.example.com:6379")).Open(t.Context())
	if err != nil || client.Options().MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
		t.Errorf("%+v, %v", client.Options().MaintNotificationsConfig, err)
	}
}

// A Redis that is away is noticed soon, and few times over.
func TestClientGivesUpEarly(t *testing.T) {
	t.Parallel()
	client, err := redis.For(newEnv("redis://127.0.0.1:1")).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := client.Options()
	if o.DialTimeout > 500*time.Millisecond || o.ReadTimeout > 5*time.Second || o.WriteTimeout > 5*time.Second || o.DialerRetries > 1 || o.MaxRetries > 1 || !o.ContextTimeoutEnabled {
		t.Errorf("%+v", o)
	}
}

func TestNothingIsOpenedBeforeItIsNeeded(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- struct{}{}
			_ = conn.Close()
		}
	}()
	env := newEnv("redis://" + listener.Addr().String())
	db := redis.For(env)
	client, err := db.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-accepted:
		t.Error("connected before a command")
	default:
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("a listener that hangs up answered")
	}
	<-accepted
	_ = listener.Close()
	if err := newEnv("redis://127.0.0.1:1").Stop(t.Context()); err != nil {
		t.Errorf("the stop of what was never opened: %v", err)
	}
}

func TestRedisThatHangsIsGivenUpSoon(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	client, err := redis.For(newEnv("redis://" + listener.Addr().String())).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = client.Ping(ctx).Err()
	if ctx.Err() != nil || err == nil {
		t.Errorf("waited for %v: %v", 10*time.Second, err)
	}
}

func TestBadAddress(t *testing.T) {
	t.Parallel()
	_, err := redis.For(newEnv("http://user:hunter2@host")).Open(t.Context())
	if fault.From(err).Kind != fault.Unavailable || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestAddressThatCannotBeRead(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	_, err := redis.For(newEnv("sm://projects/p/secrets/s/versions/1")).Open(t.Context())
	if fault.From(err).Kind != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}
