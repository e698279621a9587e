package door

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tokenUntil is a token as the metadata server makes them, as far as we look.
func tokenUntil(expires time.Time, name string) string {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d,"name":%q}`, expires.Unix(), name))
	return "header." + claims + ".signature"
}

// source gives out tokens that are good for an hour, or fails. What was asked
// waits for a turn where there are turns.
type source struct {
	mu    sync.Mutex
	now   time.Time
	err   error
	calls int
	turns chan struct{}
}

func (s *source) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *source) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *source) fetch(_ context.Context, audience string) (string, error) {
	if s.turns != nil {
		<-s.turns
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return "", s.err
	}
	return tokenUntil(s.now.Add(time.Hour), fmt.Sprintf("%s %d", audience, s.calls)), nil
}

const audience = "https://auth.example"

// settled waits until no renewal is under way.
func (t *tokens) settled(audience string) {
	<-t.flights.DoChan(audience, func() (any, error) { return nil, nil })
}

func TestTokenIsKeptAndRenewedWhileItServes(t *testing.T) {
	t.Parallel()
	s := &source{now: time.Unix(1e9, 0)}
	tokens := newTokens(s.clock, s.fetch)
	get := func() string {
		t.Helper()
		token, err := tokens.get(t.Context(), audience)
		if err != nil {
			t.Fatal(err)
		}
		tokens.settled(audience)
		return token
	}
	first := get()
	s.pass(time.Hour - early - time.Second)
	if get() != first || s.asked() != 1 {
		t.Fatalf("a token that serves was not kept: asked %d times", s.asked())
	}
	if other, err := tokens.get(t.Context(), "https://refresh.example"); err != nil || other == first || s.asked() != 2 {
		t.Fatalf("one audience gets the token of another: %v", err)
	}
	s.pass(time.Second)
	if get() != first || s.asked() != 3 {
		t.Fatalf("the old token does not serve while it is renewed, or is not renewed: asked %d times", s.asked())
	}
	if get() == first || s.asked() != 3 {
		t.Fatalf("the new token is not used")
	}
}

func TestMetadataOutageEndsNothingThatServes(t *testing.T) {
	t.Parallel()
	s := &source{now: time.Unix(1e9, 0)}
	tokens := newTokens(s.clock, s.fetch)
	first, err := tokens.get(t.Context(), audience)
	if err != nil {
		t.Fatal(err)
	}
	s.fail(errors.New("no metadata today"))
	s.pass(time.Hour - early)
	for range 3 { // which asks once: the next try comes later
		if token, err := tokens.get(t.Context(), audience); token != first || err != nil {
			t.Fatalf("a token that serves is not used in an outage: %v", err)
		}
		tokens.settled(audience)
	}
	if s.asked() != 2 {
		t.Errorf("asked %d times, want once more", s.asked())
	}
	s.pass(pause)
	_, _ = tokens.get(t.Context(), audience)
	tokens.settled(audience)
	if s.asked() != 3 {
		t.Errorf("asked %d times, want another time after the pause", s.asked())
	}
	s.pass(early - pause - margin)
	for range 2 { // a failure is not remembered
		if token, err := tokens.get(t.Context(), audience); token != "" || err == nil || !strings.Contains(err.Error(), "no metadata today") || !strings.Contains(err.Error(), audience) {
			t.Fatalf("got %q, %v", token, err)
		}
	}
	if s.asked() != 5 {
		t.Errorf("asked %d times, want each time that none serves", s.asked())
	}
	s.fail(nil)
	if token, err := tokens.get(t.Context(), audience); token == "" || token == first || err != nil {
		t.Errorf("an outage that is over goes on: %v", err)
	}
}

func TestOneAsksForAll(t *testing.T) {
	t.Parallel()
	s := &source{now: time.Unix(1e9, 0), turns: make(chan struct{})}
	tokens := newTokens(s.clock, s.fetch)
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := tokens.get(left, audience); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves is told %v", err)
	}
	// The one who asked first has left, and what it asked goes on.
	got := make(chan string, 20)
	for range cap(got) {
		go func() {
			token, _ := tokens.get(t.Context(), audience)
			got <- token
		}()
	}
	close(s.turns)
	first := <-got
	for range cap(got) - 1 {
		if token := <-got; token != first || token == "" {
			t.Errorf("got %q and %q", first, token)
		}
	}
	if s.asked() != 1 {
		t.Errorf("asked %d times", s.asked())
	}
}

func TestTokensThatAreOfNoUse(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	for token, want := range map[string]string{
		"":                                 "what is no token",
		"<html>":                           "what is no token",
		"a.!.c":                            "does not say when it expires",
		"a.bm90IEpTT04.c":                  "does not say when it expires",
		"a.e30.c":                          "does not say when it expires",
		tokenUntil(now.Add(margin), "old"): "a token that expires at 2001-09-09T01:47:10Z",
	} {
		tokens := newTokens(func() time.Time { return now }, func(context.Context, string) (string, error) { return token, nil })
		if got, err := tokens.get(t.Context(), audience); got != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v", token, got, err)
		}
	}
	good := tokenUntil(now.Add(margin+time.Second), "good")
	tokens := newTokens(func() time.Time { return now }, func(context.Context, string) (string, error) { return good, nil })
	if got, err := tokens.get(t.Context(), audience); got != good || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// It is not parallel: the environment is the process's.
func TestTheEnvironmentNamesTheMetadataServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "for "+r.URL.Query().Get("audience"))
	}))
	defer server.Close()
	t.Setenv("GCE_METADATA_HOST", server.Listener.Addr().String())
	if got, err := fromMetadata(nil)(t.Context(), audience); got != "for "+audience || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// metadataAt is a client of a metadata server that the test stands in for.
func metadataAt(t *testing.T, handler http.HandlerFunc) *http.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}}
}

func TestAsksTheMetadataServer(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	fetch := fromMetadata(metadataAt(t, func(w http.ResponseWriter, r *http.Request) {
		if away.Load() || r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/identity" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "for "+r.URL.Query().Get("audience"))
	}))
	if got, err := fetch(t.Context(), "https://a.example:1"); got != "for https://a.example:1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	away.Store(true)
	if got, err := fetch(t.Context(), audience); got != "" || err == nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A metadata server that hangs holds up nobody for longer than they can wait for.
func TestAMetadataServerThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tokens := newTokens(time.Now, func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
		began := time.Now()
		token, err := tokens.get(t.Context(), audience)
		if took := time.Since(began); token != "" || !errors.Is(err, context.DeadlineExceeded) || took != patience {
			t.Errorf("got %q after %s: %v", token, took, err)
		}
	})
}

// A renewal that stood still with the instance, past its time, is not the last word.
func TestRenewalThatStoodStillIsTriedAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	asked, fail := make(chan struct{}, 4), make(chan struct{})
	calls := 0
	tokens := newTokens(func() time.Time { return now }, func(context.Context, string) (string, error) {
		calls++
		asked <- struct{}{}
		if calls == 1 {
			<-fail
			return "", context.DeadlineExceeded
		}
		return tokenUntil(now.Add(time.Hour), "fresh"), nil
	})
	old := tokenUntil(now.Add(time.Minute), "old")
	tokens.held[audience] = held{token: old, expires: now.Add(time.Minute)}
	if token, err := tokens.get(t.Context(), audience); token != old || err != nil {
		t.Fatalf("a token that serves: %q, %v", token, err)
	}
	<-asked // in the background
	tokens.mu.Lock()
	tokens.held[audience] = held{}
	tokens.mu.Unlock()
	got := make(chan error)
	go func() { _, err := tokens.get(t.Context(), audience); got <- err }()
	// The second has joined the first once it waits; until then it would only start one
	// of its own, which gives a token as well.
	close(fail)
	if err := <-got; err != nil {
		t.Errorf("who came after the pause: %v", err)
	}
}
