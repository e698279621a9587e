package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

func from(address string) option {
	return func(r *http.Request) { r.Header.Set("X-Forwarded-For", address) }
}

func device(value string) option {
	return func(r *http.Request) { r.Header.Add("Cookie", "__Host-dd_device="+value) }
}

// still has the instances' clock stand.
func (f *fixture) still() { at := time.Now(); f.now = func() time.Time { return at } }

// Two instances hold one limit for an address, before any work is done.
func TestAttemptsFromOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	instances := []http.Handler{f.handler(t), f.handler(t)}
	registered(t, instances[0], ada())
	const home = "192.0.2.1"
	for n := range 10 {
		got := login(t, instances[n%2], fmt.Sprintf("nobody%d@example.com", n), "a guess", from(home))
		want := fmt.Sprintf(`"login-address";r=%d;t=%d`, 9-n, 6*(n+1))
		if got.Status != http.StatusUnauthorized || got.Header.Get("RateLimit") != want || got.Header.Get("RateLimit-Policy") != `"login-address";q=10;w=60` {
			t.Errorf("attempt %d: %d, RateLimit %s of %s, want %s", n, got.Status, got.Header.Get("RateLimit"), got.Header.Get("RateLimit-Policy"), want)
		}
	}
	events := f.count(t, "auth_events")
	for _, instance := range instances {
		got := login(t, instance, email, password, from(home))
		if got.Status != http.StatusTooManyRequests || got.Body.Code != "too_many_requests" || got.Header.Get("Retry-After") != "6" ||
			got.Header.Get("RateLimit") != `"login-address";r=0;t=6` || !strings.Contains(got.Raw, `"violated-policies":["login-address"]`) ||
			!strings.Contains(got.Raw, `"type":"https://iana.org/assignments/http-problem-types#quota-exceeded"`) {
			t.Errorf("%d %v %s", got.Status, got.Header, got.Raw)
		}
	}
	if n := f.count(t, "auth_events"); n != events {
		t.Errorf("what was refused left %d rows", n-events)
	}
	if got := login(t, instances[0], email, password, from("192.0.2.2")); got.Status != http.StatusOK {
		t.Errorf("from next door: %d %s", got.Status, got.Raw)
	}
}

// An attacker with many addresses uses up the attempts on an account, and learns
// from the answers no more than that there were too many. The owner signs in all
// the same from where they have been before.
func TestAttemptsOnOneAccountAreLimited(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	handler := f.handler(t)
	mine := registered(t, handler, ada())
	registered(t, handler, ada("email", "other@example.com"))
	refused := func(email string) answer {
		t.Helper()
		for n := range 20 {
			if got := login(t, handler, email, fmt.Sprint("a guess ", n)); got.Status != http.StatusUnauthorized {
				return got
			}
		}
		t.Fatalf("%s: twenty attempts were let in", email)
		return answer{}
	}
	known, unknown := refused(email), refused("nobody@example.com")
	if known.Status != http.StatusTooManyRequests || withoutID(known.Raw) != withoutID(unknown.Raw) || known.Header.Get("RateLimit") != unknown.Header.Get("RateLimit") {
		t.Errorf("an account is answered %s, none %s", known.Raw, unknown.Raw)
	}
	if strings.Contains(known.Raw+fmt.Sprint(known.Header), "account") || strings.Contains(known.Raw, "backoff") {
		t.Errorf("the answer tells of the account: %s %v", known.Raw, known.Header)
	}
	if got := login(t, handler, email, password); got.Status != http.StatusTooManyRequests {
		t.Errorf("the right password from a new device: %d %s", got.Status, got.Raw)
	}
	if got := login(t, handler, email, password, device(mine.Device)); got.Status != http.StatusOK {
		t.Errorf("the owner's own device: %d %s", got.Status, got.Raw)
	}
	// A device of one account is nothing to another, and no junk is one.
	for name, cookie := range map[string]string{"another's device": mine.Device, "junk": "junk", "none": ""} {
		refused("other@example.com")
		if got := login(t, handler, "other@example.com", password, device(cookie)); got.Status != http.StatusTooManyRequests {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
}

// Each failure after the fifth has the next attempt wait twice as long, until one
// succeeds.
func TestFailuresMakeAnAccountWait(t *testing.T) {
	t.Parallel()
	f := open(t)
	now := time.Now()
	f.now = func() time.Time { return now }
	handler := f.handler(t)
	registered(t, handler, ada())
	for range 5 {
		login(t, handler, email, "a guess")
	}
	for n := range 3 {
		now = now.Add(time.Second<<n - time.Millisecond)
		// What is told is rounded, so that nobody counts how often others failed.
		if got := login(t, handler, email, password); got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "60" {
			t.Fatalf("after %d failures: %d, Retry-After %q", 5+n, got.Status, got.Header.Get("Retry-After"))
		}
		now = now.Add(time.Millisecond)
		if n < 2 {
			login(t, handler, email, "a guess")
		}
	}
	if got := login(t, handler, email, password); got.Status != http.StatusOK {
		t.Fatalf("after the wait: %d %s", got.Status, got.Raw)
	}
	now = now.Add(time.Hour / 2) // the limits are whole again, the failures would not be forgotten
	login(t, handler, email, "a guess")
	if got := login(t, handler, email, password); got.Status != http.StatusOK {
		t.Errorf("one failure after a success: %d %s", got.Status, got.Raw)
	}
}

// Those who try at once have no more attempts than those who wait for each answer.
func TestAttemptsAtOnceAreLimited(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	handler := f.handler(t)
	for range 4 {
		login(t, handler, email, "a guess")
	}
	var all sync.WaitGroup
	var wrong atomic.Int64
	for range 6 {
		all.Go(func() {
			if login(t, handler, email, "a guess").Status == http.StatusUnauthorized {
				wrong.Add(1)
			}
		})
	}
	all.Wait()
	if n := wrong.Load(); n != 1 {
		t.Errorf("%d of six were let in, want the one that is the fifth", n)
	}
}

// Who mistypes an address, or somebody else does, opens an account there all the same.
func TestFailedSignInsDoNotHinderRegistering(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	handler := f.handler(t)
	for range 7 {
		login(t, handler, email, "a guess")
	}
	registered(t, handler, ada())
	mine := login(t, f.with(t, map[string]string{"REDIS_URL": redistest.URL(t)}), email, password).Device
	for n := range 3 {
		want := http.StatusConflict
		if n == 2 {
			want = http.StatusTooManyRequests
		}
		// Also to who has signed in to it before.
		if got := register(t, handler, ada(), device(mine)); got.Status != want {
			t.Errorf("attempt %d on one address: %d %s", n+2, got.Status, got.Raw)
		}
	}
}

// The addresses of one network register so many, whether or not they ask well.
func TestRegistrationsFromOneNetworkAreLimited(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	handler := f.handler(t)
	at := func(n int) option { return from(fmt.Sprintf("2001:db8:1:%x::1", n)) }
	for n := range 100 {
		if got := register(t, handler, ada("password", "short"), at(n)); got.Status != http.StatusUnprocessableEntity {
			t.Fatalf("%d: %d %s", n, got.Status, got.Raw)
		}
	}
	if got := register(t, handler, ada(), at(100)); got.Status != http.StatusTooManyRequests || !strings.Contains(got.Raw, "register-network") {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	if got := register(t, handler, ada(), from("2001:db8:2::1")); got.Status != http.StatusCreated {
		t.Errorf("another network: %d %s", got.Status, got.Raw)
	}
}

// A browser is known by its account's password: with the next one it is a stranger,
// until it has signed in with that.
func TestDeviceOfAnOlderPasswordIsNone(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	handler := f.handler(t)
	mine := registered(t, handler, ada())
	changed := changePassword(t, handler, mine.Body.AccessToken, password, another)
	for range 12 {
		login(t, handler, email, "a guess")
	}
	if got := login(t, handler, email, another, device(mine.Device)); got.Status != http.StatusTooManyRequests {
		t.Errorf("the device of the old password: %d %s", got.Status, got.Raw)
	}
	if got := login(t, handler, email, another, device(changed.Device)); got.Status != http.StatusOK {
		t.Errorf("the device of the new: %d %s", got.Status, got.Raw)
	}
	if got := login(t, handler, email, another, device(changed.Device), device(changed.Device)); got.Status != http.StatusTooManyRequests {
		t.Errorf("of two none counts: %d %s", got.Status, got.Raw)
	}
	// What fails by it is the account's.
	handler = f.with(t, map[string]string{"REDIS_URL": redistest.URL(t)})
	for range 5 {
		login(t, handler, email, "a guess", device(mine.Device))
	}
	if got := login(t, handler, email, another); got.Status != http.StatusTooManyRequests {
		t.Errorf("after five failures: %d %s", got.Status, got.Raw)
	}
}

// Rotating the keys locks no owner out.
func TestDeviceIsKnownUnderEveryKey(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	mine := registered(t, f.handler(t), ada())
	set, err := identity.RefreshKeys.Read(f.settings["REFRESH_KEYS"])
	if err != nil {
		t.Fatal(err)
	}
	old := set.IDs()[0]
	set, next, err := set.Publish()
	if err != nil {
		t.Fatal(err)
	}
	published := f.with(t, map[string]string{"REFRESH_KEYS": set.Secret()})
	if set, err = set.Sign(next); err != nil {
		t.Fatal(err)
	}
	signing := f.with(t, map[string]string{"REFRESH_KEYS": set.Secret()})
	if set, err = set.Retire(old); err != nil {
		t.Fatal(err)
	}
	retired := f.with(t, map[string]string{"REFRESH_KEYS": set.Secret()})
	for name, handler := range map[string]http.Handler{"published": published, "signing": signing} {
		for range 12 {
			login(t, handler, email, "a guess")
		}
		if got := login(t, handler, email, password); got.Status != http.StatusTooManyRequests {
			t.Errorf("%s, a new device: %d %s", name, got.Status, got.Raw)
		}
		if got := login(t, handler, email, password, device(mine.Device)); got.Status != http.StatusOK {
			t.Errorf("%s, the owner's: %d %s", name, got.Status, got.Raw)
		}
	}
	if got := login(t, retired, email, password, device(mine.Device)); got.Status != http.StatusTooManyRequests {
		t.Errorf("with a key that is gone: %d %s", got.Status, got.Raw)
	}
}

// A device is one for 400 days.
func TestDeviceIsForgotten(t *testing.T) {
	t.Parallel()
	f := open(t)
	now := time.Now()
	f.now = func() time.Time { return now }
	mine := registered(t, f.handler(t), ada())
	for days, want := range map[int]int{399: http.StatusOK, 401: http.StatusTooManyRequests} {
		now = time.Now().AddDate(0, 0, days)
		handler := f.with(t, map[string]string{"REDIS_URL": redistest.URL(t)})
		for range 12 {
			login(t, handler, email, "a guess")
		}
		if got := login(t, handler, email, password, device(mine.Device)); got.Status != want {
			t.Errorf("after %d days: %d %s", days, got.Status, got.Raw)
		}
	}
}

// Nobody reads in Redis who signs in, and nothing stays there.
func TestRedisKnowsNoAddresses(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	mine := registered(t, handler, ada())
	for range 6 {
		login(t, handler, email, "a guess")
	}
	changePassword(t, handler, mine.Body.AccessToken, password, another)
	options, err := goredis.ParseURL(f.settings["REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(context.Background(), "*").Result()
	if err != nil || len(keys) < 5 {
		t.Fatalf("%v, %v", keys, err)
	}
	for _, key := range keys {
		value := client.Get(context.Background(), key).Val()
		if text := strings.ToLower(key + value); strings.Contains(text, "ada") && strings.Contains(text, "example") || strings.Contains(text, "@") {
			t.Errorf("%s holds %s", key, value)
		}
		if left := client.PTTL(context.Background(), key).Val(); left <= 0 {
			t.Errorf("%s stays for %s", key, left)
		}
	}
}

// Without Redis an instance limits by itself, to half as much where there is
// something to guess, and signs people in as ever.
func TestLimitsWithoutRedis(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.still()
	f.settings["REDIS_URL"] = "redis://127.0.0.1:1"
	handler := f.handler(t)
	registered(t, handler, ada())
	admitted := 0
	home := netip.AddrFrom16(uuid.New()).String()
	for n := range 20 {
		got := login(t, handler, fmt.Sprintf("nobody%d@example.com", n), "a guess", from(home))
		switch got.Status {
		case http.StatusUnauthorized:
			admitted++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("%d %s", got.Status, got.Raw)
		}
	}
	if admitted != 5 {
		t.Errorf("%d attempts from one address were let in, want 5", admitted)
	}
	for n := range 6 {
		want := http.StatusOK
		if n == 5 {
			want = http.StatusTooManyRequests
		}
		if got := login(t, handler, email, password); got.Status != want {
			t.Errorf("attempt %d on one account: %d %s", n+1, got.Status, got.Raw)
		}
	}
}
