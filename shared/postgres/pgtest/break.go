package pgtest

import (
	"iter"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// mostSteps ends a test whose code under test never gets through.
const mostSteps = 1000

// Breaks yields the database at server through proxies that break one step later
// each time, until a round gets through without meeting the break. It brings a
// test to each error branch there is:
//
//	for n, proxy := range pgtest.Breaks(t, url) {
//		answer := get(handler(proxy.URL))
//		if proxy.Broken() && answer.Code != 503 { ... }
//	}
//
// The rounds share the database: what a round wrote before its break is there in
// the next, and so is a commit whose answer was lost.
func Breaks(t testing.TB, server string) iter.Seq2[int, *Proxy] {
	return func(yield func(int, *Proxy) bool) {
		for n := 1; ; n++ {
			if n > mostSteps {
				t.Fatalf("still breaking after %d steps", mostSteps)
			}
			proxy := NewProxy(t, server)
			proxy.BreakAt(n)
			if !yield(n, proxy) || !proxy.Broken() {
				return
			}
		}
	}
}

// ForEveryBreak runs do over Breaks and asserts that each broken round ends in an
// Unavailable fault and that the last succeeds.
func ForEveryBreak(t testing.TB, server string, do func(*postgres.Database) error) {
	t.Helper()
	for n, proxy := range Breaks(t, server) {
		err := round(t, proxy, do)
		switch {
		case proxy.Broken() && err == nil:
			t.Errorf("step %d: the connection broke and no error came", n)
		case proxy.Broken() && fault.From(err).Kind != fault.Unavailable:
			t.Errorf("step %d: want an Unavailable fault, got %v", n, err)
		case !proxy.Broken() && err != nil:
			t.Errorf("nothing broke, and yet: %v", err)
		}
	}
}

func round(t testing.TB, proxy *Proxy, do func(*postgres.Database) error) error {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	return do(postgres.Over(pool))
}
