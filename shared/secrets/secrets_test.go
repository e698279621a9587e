package secrets_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

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

func newEnv(raw string, now func() time.Time, log *slog.Logger) *function.Env {
	lookup := func(name string) (string, bool) { return raw, name == "KEY" || name == "OPEN" }
	return function.NewEnv(log, now, lookup).
		For(function.Function{Name: "test", Settings: []function.Setting{{Name: "KEY", Secret: true}, {Name: "OPEN"}}})
}

// world is a value in a process with a Secret Manager.
type world struct {
	*secrets.Value
	manager *secretstest.Manager
	clock   *clock
	log     *bytes.Buffer
}

// open returns a value that the setting holds as it stands, or, where that is
// empty, one that refers to a secret of the value "first".
func open(t *testing.T, raw string) world {
	t.Helper()
	w := world{manager: secretstest.New(t), clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, log: &bytes.Buffer{}}
	if reference := w.manager.Put("key", "first"); raw == "" {
		raw = reference
	}
	env := newEnv(raw, w.clock.Now, slog.New(slog.NewTextHandler(w.log, nil)))
	w.manager.Serve(env)
	w.Value = secrets.For(env, "KEY")
	t.Cleanup(func() {
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w world) want(t *testing.T, value string) {
	t.Helper()
	if got, err := w.Get(t.Context()); err != nil || got != value {
		t.Errorf("Get() = %q, %v; want %q", got, err, value)
	}
}

func (w world) wantReads(t *testing.T, n int) {
	t.Helper()
	if got := w.manager.Reads(); got != n {
		t.Errorf("Secret Manager was read %d times, want %d", got, n)
	}
}

func TestPlainValue(t *testing.T) {
	t.Parallel()
	for _, plain := range []string{"plain", "sm:/almost", "not sm://a"} {
		w := open(t, plain)
		w.want(t, plain)
		if got, err := w.Recent(t.Context()); got != plain || err != nil || !secrets.Plain(plain) {
			t.Errorf("Recent() = %q, %v", got, err)
		}
		w.wantReads(t, 0)
	}
	v := secrets.For(newEnv("", time.Now, nil), "KEY")
	if got, err := v.Get(t.Context()); got != "" || err != nil || !secrets.Plain("") {
		t.Errorf("an empty one: %q, %v", got, err)
	}
	if secrets.Plain("sm://") {
		t.Error("a reference passes for a value")
	}
}

func TestReferenceIsReadWhenNeededAndOnceAMinute(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.wantReads(t, 0)
	for range 3 {
		w.want(t, "first")
	}
	w.manager.Put("key", "second")
	w.clock.pass(secrets.FreshFor - time.Nanosecond)
	w.want(t, "first")
	w.wantReads(t, 1)
	w.clock.pass(time.Nanosecond)
	w.want(t, "second")
	w.wantReads(t, 2)
	if secrets.FreshFor != time.Minute {
		t.Errorf("a value is used for %s", secrets.FreshFor)
	}
}

// Whatever number of callers thinks that the value is old, Secret Manager is
// asked six times a minute at most.
func TestRecentIsReadEarlierButNotAtWill(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.want(t, "first")
	w.manager.Put("key", "second")
	recent := func(value string) {
		t.Helper()
		if got, err := w.Recent(t.Context()); err != nil || got != value {
			t.Errorf("Recent() = %q, %v; want %q", got, err, value)
		}
	}
	w.clock.pass(secrets.Soonest - time.Nanosecond)
	for range 100 {
		recent("first")
	}
	w.wantReads(t, 1)
	w.clock.pass(time.Nanosecond)
	w.want(t, "first") // nobody doubts it here
	for range 100 {
		recent("second")
	}
	w.wantReads(t, 2)

	w.manager.Fail(status.Error(codes.PermissionDenied, "no"))
	w.clock.pass(secrets.Soonest)
	for range 100 {
		recent("second") // a failure counts as well
	}
	w.wantReads(t, 3)
	if secrets.Soonest < 10*time.Second {
		t.Errorf("Secret Manager may be asked every %s", secrets.Soonest)
	}
}

func TestFailureIsNotRemembered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damaged bool
		empty   bool
		err     error
		says    string
	}{
		"damaged":    {damaged: true, says: "checksum"},
		"missing":    {err: status.Error(codes.NotFound, "version not found"), says: "projects/p/secrets/key/versions/latest: there is no such secret, or it has no such version: gcloud secrets versions add"},
		"disabled":   {err: status.Error(codes.FailedPrecondition, "is in DISABLED state"), says: "that version is disabled or destroyed: gcloud secrets versions enable"},
		"forbidden":  {err: status.Error(codes.PermissionDenied, "secretmanager.versions.access"), says: "give it roles/secretmanager.secretAccessor on this secret"},
		"no version": {err: status.Error(codes.InvalidArgument, "bad name"), says: "write sm://projects/PROJECT"},
		"no account": {err: status.Error(codes.Unauthenticated, "who"), says: "does not know the function's account"},
		"not itself": {err: errors.New("oh"), says: "oh"},
		"empty":      {empty: true, says: "is empty: add a version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, "")
			fail := func(value string) {
				if c.empty {
					value = ""
				}
				w.manager.Put("key", value)
				w.manager.Damage(c.damaged)
				w.manager.Fail(c.err)
			}
			heal := func(value string) {
				w.manager.Put("key", value)
				w.manager.Damage(false)
				w.manager.Fail(nil)
			}
			fail("hunter2")
			_, err := w.Get(t.Context())
			if fault.From(err).Kind != fault.Unavailable || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "KEY") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			heal("good")
			w.want(t, "good")
			if w.log.Len() > 0 {
				t.Errorf("the caller knows, and the log as well: %s", w.log)
			}

			fail("hunter2")
			w.clock.pass(secrets.FreshFor)
			w.want(t, "good") // what was read before serves on
			heal("better")
			w.want(t, "good") // and is not asked for at each use
			if got := w.log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, c.says) || !strings.Contains(got, "setting=KEY") || strings.Contains(got, "hunter2") {
				t.Errorf("the log says %s", got)
			}
			w.clock.pass(secrets.FreshFor)
			w.want(t, "better")
		})
	}
}

// While Secret Manager hangs, one caller waits for a second at most, and nobody
// else at all.
func TestAHangingSecretManagerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.want(t, "first")
	w.manager.Put("key", "second")
	hold := w.manager.Hold()
	w.clock.pass(secrets.FreshFor)
	waiting := make(chan string)
	go func() {
		got, _ := w.Get(context.Background())
		waiting <- got
	}()
	if most := <-hold.Asked; most <= 0 || most > secrets.AgainTime || secrets.AgainTime > time.Second {
		t.Errorf("the caller may wait for %s", most)
	}
	for range 100 {
		w.want(t, "first")
	}
	if got, err := w.Recent(t.Context()); got != "first" || err != nil {
		t.Errorf("Recent() = %q, %v", got, err)
	}
	w.wantReads(t, 2)
	select {
	case got := <-waiting:
		t.Fatalf("the caller who reads was given %q", got)
	default:
	}
	hold.Release()
	if got := <-waiting; got != "second" {
		t.Errorf("the caller who read was given %q", got)
	}
	w.want(t, "second")
	w.wantReads(t, 2)
}

func TestTheCallerWhoReadsGivesUp(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.want(t, "first")
	w.GiveUpAfter(time.Millisecond)
	w.manager.Hold()
	w.clock.pass(secrets.FreshFor)
	for range 3 {
		w.want(t, "first")
	}
	if !strings.Contains(w.log.String(), "DeadlineExceeded") || strings.Count(w.log.String(), "level=WARN") != 1 {
		t.Errorf("the log says %s", w.log)
	}
	w.clock.pass(secrets.FreshFor)
	w.want(t, "first")
	if got := strings.Count(w.log.String(), "level=WARN"); got != 2 {
		t.Errorf("tried %d times in two minutes", got)
	}
}

// Callers who go away neither keep a value old nor have it read without a bound.
func TestTheReadOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.want(t, "first")
	w.manager.Put("key", "second")
	w.clock.pass(secrets.FreshFor)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := w.Get(ctx); got != "second" || err != nil {
		t.Errorf("Get() = %q, %v", got, err)
	}
}

func TestTheFirstReadEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	hold := w.manager.Hold()
	get := func() (cancel func(), failed chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		failed = make(chan error)
		go func() {
			_, err := w.Get(ctx)
			failed <- err
		}()
		return cancel, failed
	}
	wantAway := func(failed chan error) {
		t.Helper()
		if err := <-failed; fault.From(err).Kind != fault.Unavailable || !strings.Contains(err.Error(), "KEY") {
			t.Errorf("got %v", err)
		}
	}
	leave, reading := get()
	if most := <-hold.Asked; most <= secrets.AgainTime || most > secrets.FirstTime {
		t.Errorf("the first caller may wait for %s", most)
	}
	leaveToo, waiting := get()
	leaveToo()
	wantAway(waiting)
	select {
	case err := <-reading:
		t.Errorf("one caller waited for another, who had %v", err)
	default:
	}
	leave()
	wantAway(reading)
	hold.Release()
	w.want(t, "first")
}

func TestOutage(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	w.want(t, "first")
	w.manager.Stop()
	w.GiveUpAfter(time.Millisecond)
	w.clock.pass(secrets.FreshFor)
	w.want(t, "first")

	never := open(t, "")
	never.manager.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := never.Get(ctx); fault.From(err).Kind != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestManyReadersReadOnce(t *testing.T) {
	t.Parallel()
	w := open(t, "")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { w.want(t, "first") })
	}
	all.Wait()
	w.wantReads(t, 1)
}

func TestWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	v := secrets.For(newEnv("sm://projects/p/secrets/key/versions/latest", time.Now, nil), "KEY")
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
	secrets.For(newEnv("x", time.Now, nil), "OPEN")
}
