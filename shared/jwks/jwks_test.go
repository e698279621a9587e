package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/jwks"
	"github.com/devops-dashboard/dashboard/shared/jwks/jwkstest"
)

// clock is set by hand.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
}

func newClock() *clock { return &clock{time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// signer is the id of the key that signs.
func signer(t *testing.T, i *jwkstest.Issuer) string {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(i.Sign(jwt.MapClaims{}, nil), jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Header["kid"].(string)
}

func source(stale time.Duration) jwks.Source {
	return jwks.Source{Name: "the issuer's keys", URL: "https://issuer.example/keys", Stale: stale}
}

// is tells whether an answer is a key, that there is none, or that nobody knows.
func is(key any, err error) string {
	switch {
	case err == nil && key != nil:
		return "known"
	case errors.Is(err, jwks.ErrUnknown):
		return "unknown"
	case fault.From(err).Kind == fault.Unavailable && fault.From(err).RetryAfter > 0:
		return "away"
	}
	return fmt.Sprint(err)
}

// What has had its time serves on while the issuer is away, for as long as the source
// says and no longer, and what is not known then is nobody's fault.
func TestStaleKeysServeWhileTheIssuerIsAway(t *testing.T) {
	t.Parallel()
	for stale, want := range map[time.Duration]string{0: "away", time.Hour: "known"} {
		c, issuer := newClock(), jwkstest.New(t)
		keys, id := jwks.New(issuer.Client(), c.now, source(stale)), signer(t, issuer)
		look := func(when, id, want string) {
			t.Helper()
			if got := is(keys.Named(t.Context(), id)); got != want {
				t.Errorf("stale for %s, %s: %s, want %s", stale, when, got, want)
			}
		}
		look("at first", id, "known")
		issuer.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
		c.pass(time.Hour - time.Second)
		look("while it is fresh", id, "known")
		c.pass(time.Second)
		look("when it is not", id, want)
		look("another", "another", "away")
		asked := issuer.Asked()
		look("soon after", id, want)
		if issuer.Asked() != asked {
			t.Error("the issuer was asked again at once")
		}
		c.pass(time.Hour - time.Nanosecond)
		look("nearly an hour later", id, want)
		c.pass(time.Nanosecond)
		look("an hour later", id, "away")
		issuer.Answer(nil)
		c.pass(10 * time.Second)
		look("when the issuer is back", id, "known")
		look("another", "another", "unknown")
	}
}

// However many come with keys that nobody knows, the issuer is asked once.
func TestAStormAsksOnce(t *testing.T) {
	t.Parallel()
	c, issuer := newClock(), jwkstest.New(t)
	keys := jwks.New(issuer.Client(), c.now, source(0))
	for range 3 {
		asked := issuer.Asked()
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				if got := is(keys.Named(t.Context(), fmt.Sprint("made up ", n))); got != "unknown" {
					t.Error(got)
				}
			})
		}
		all.Wait()
		if got := issuer.Asked() - asked; got != 1 {
			t.Errorf("the issuer was asked %d times", got)
		}
		c.pass(10 * time.Second)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Whose key is known does not wait for an issuer who is slow for somebody else.
func TestKnownKeysWaitForNobody(t *testing.T) {
	t.Parallel()
	c, issuer := newClock(), jwkstest.New(t)
	slow := make(chan struct{})
	hangs := make(chan struct{})
	var calls int
	keys := jwks.New(&http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		if calls++; calls > 1 {
			close(hangs)
			<-slow
		}
		return issuer.RoundTrip(r)
	})}, c.now, source(0))
	id := signer(t, issuer)
	if got := is(keys.Named(t.Context(), id)); got != "known" {
		t.Fatal(got)
	}
	c.pass(10 * time.Second)
	var other sync.WaitGroup
	other.Go(func() {
		if got := is(keys.Named(t.Context(), "made up")); got != "unknown" {
			t.Error(got)
		}
	})
	<-hangs
	if got := is(keys.Named(t.Context(), id)); got != "known" {
		t.Error(got)
	}
	// Who leaves does not wait either, and learns nothing of the key.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := is(keys.Named(ctx, "made up")); got != "away" {
		t.Error(got)
	}
	close(slow)
	other.Wait()
}

// Whose key is not known yet waits for the question that is on its way, and is not
// told that there is none.
func TestWhoComesMeanwhileWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	issuer := jwkstest.New(t)
	id := signer(t, issuer)
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		keys := jwks.New(&http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			<-answer
			return issuer.RoundTrip(r)
		})}, time.Now, source(time.Hour))
		for _, when := range []string{"at first", "when they have had their time", "when that failed"} {
			asked := issuer.Asked()
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					if got := is(keys.Named(t.Context(), id)); got != "known" {
						t.Errorf("%s: %s", when, got)
					}
				})
				synctest.Wait() // the first has asked, and the second comes while it waits
			}
			answer <- struct{}{}
			all.Wait()
			if got := issuer.Asked() - asked; got != 1 {
				t.Errorf("%s: the issuer was asked %d times", when, got)
			}
			if when == "when they have had their time" {
				issuer.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
				time.Sleep(3 * time.Hour)
				go func() { answer <- struct{}{} }()
				if got := is(keys.Named(t.Context(), id)); got != "away" {
					t.Error(got)
				}
				issuer.Answer(nil)
			}
			time.Sleep(time.Hour)
		}
	})
}

// Who signs is decided by who answers at the source, in an answer that has an end.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	issuer := jwkstest.New(t)
	elsewhere := httptest.NewServer(issuer)
	t.Cleanup(elsewhere.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"more than is read": func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, strings.Repeat(" ", 1<<20))
			issuer.ServeHTTP(w, r)
		},
		"no status that is one": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			issuer.ServeHTTP(w, r)
		},
	} {
		server := httptest.NewServer(answer)
		t.Cleanup(server.Close)
		keys := jwks.New(http.DefaultClient, time.Now, jwks.Source{Name: "the issuer's keys", URL: server.URL})
		if got := is(keys.Named(t.Context(), signer(t, issuer))); got != "away" {
			t.Errorf("%s: %s", name, got)
		}
	}
	keys := jwks.New(http.DefaultClient, time.Now, jwks.Source{URL: ":"})
	if got := is(keys.Named(t.Context(), "any")); got != "away" {
		t.Error(got)
	}
	keys = jwks.New(http.DefaultClient, time.Now, jwks.Source{URL: elsewhere.URL})
	if got := is(keys.Named(t.Context(), signer(t, issuer))); got != "known" {
		t.Error(got)
	}
}

// Keys are neither so short that somebody factors them nor so long that a check
// takes the machine.
func TestKeysHaveTheirLength(t *testing.T) {
	t.Parallel()
	for letters, want := range map[int]string{340: "away", 342: "known", 1366: "known", 1368: "away"} {
		issuer := jwkstest.New(t)
		issuer.Answer(func(w http.ResponseWriter) {
			_, _ = fmt.Fprintf(w, `{"keys":[{"kid":"a","kty":"RSA","use":"sig","alg":"RS256","e":"AQAB","n":%q}]}`, strings.Repeat("w", letters))
		})
		if got := is(jwks.New(issuer.Client(), time.Now, source(0)).Named(t.Context(), "a")); got != want {
			t.Errorf("%d letters: %s, want %s", letters, got, want)
		}
	}
}

// Whatever is said as keys, there is an answer, and no key that was not said.
func FuzzSets(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kid":"a","kty":"RSA","use":"sig","alg":"RS256","e":"AQAB","n":"ww"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, said []byte) {
		issuer := jwkstest.New(t)
		issuer.Answer(func(w http.ResponseWriter) { _, _ = w.Write(said) })
		got := is(jwks.New(issuer.Client(), time.Now, source(0)).Named(t.Context(), "a"))
		if got != "away" && got != "unknown" && (got != "known" || !strings.Contains(string(said), "RSA")) {
			t.Errorf("%s", got)
		}
	})
}
