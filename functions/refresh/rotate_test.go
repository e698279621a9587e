package refresh_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	f := open(t)
	before := f.session(t)
	now := noon.Add(time.Hour)
	f.at(t, now)
	got := post(t, f.handler(t), f.cookie(t, before))
	after := f.row(t, before.ID)

	want := before
	want.Generation, want.IssuedAt, want.ExpiresAt, want.Superseded = 1, now, now.Add(7*day), []time.Time{now}
	want.Token, want.Version = after.Token, after.Version
	if diff := cmp.Diff(want, after); diff != "" || after.Token == before.Token {
		t.Errorf("the row (-want +got):\n%s", diff)
	}
	if got.Status != http.StatusOK || got.Body.TokenType != "Bearer" || got.Body.ExpiresIn != 900 || got.Body.Generation != 1 {
		t.Errorf("status %d, body %+v", got.Status, got.Body)
	}
	if want := "__Host-dd_rt=" + f.cookie(t, after) + "; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Strict"; got.Header.Get("Set-Cookie") != want {
		t.Errorf("Set-Cookie is\n%s, want\n%s", got.Header.Get("Set-Cookie"), want)
	}
	if got := got.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	access, err := identitytest.Verifier(t, f.settings, now).Access(got.Body.AccessToken)
	if err != nil || access.User != f.user || access.Session != before.ID || !access.IssuedAt.Equal(now) || !access.ExpiresAt.Equal(now.Add(15*time.Minute)) {
		t.Errorf("access token says %+v, %v", access, err)
	}
	// What was set is what the next call takes.
	if again := post(t, f.handler(t), got.Cookie); again.Status != http.StatusOK || again.Body.Generation != 2 {
		t.Errorf("the successor: status %d, body %+v", again.Status, again.Body)
	}
}

func TestSessionEndsAtItsAbsoluteExpiry(t *testing.T) {
	t.Parallel()
	f := open(t)
	r := f.session(t, func(r *row) { r.ExpiresAt = r.Absolute })
	now := r.Absolute.Add(-100*time.Second - microsecond)
	f.at(t, now)
	got := post(t, f.handler(t), f.cookie(t, r))
	after := f.row(t, r.ID)
	if !after.ExpiresAt.Equal(r.Absolute) || !after.Absolute.Equal(r.Absolute) {
		t.Errorf("expires %s, absolutely %s; want %s", after.ExpiresAt, after.Absolute, r.Absolute)
	}
	access, err := identitytest.Verifier(t, f.settings, now).Access(got.Body.AccessToken)
	if err != nil || access.ExpiresAt.After(r.Absolute) || got.Body.ExpiresIn != 101 {
		t.Errorf("access token expires %s (in %d s), the session %s; %v", access.ExpiresAt, got.Body.ExpiresIn, r.Absolute, err)
	}
	if !strings.Contains(got.Header.Get("Set-Cookie"), "Max-Age=100;") {
		t.Errorf("Set-Cookie is %s", got.Header.Get("Set-Cookie"))
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	superseded := func(ago ...time.Duration) func(*row) {
		return func(r *row) {
			r.Generation, r.Superseded = int64(len(ago)), nil
			for _, d := range ago {
				r.Superseded = append(r.Superseded, noon.Add(-d))
			}
		}
	}
	older := func(by int64) func(*row) { return func(r *row) { r.Generation -= by; r.Token = uuid.New() } }
	never := func(*row) {}
	sixteen := make([]time.Duration, 16)
	for name, test := range map[string]struct {
		row       func(*row) // as it is at noon
		presented func(*row) // what differs in the token
		user      string     // SET on the user
		code      string     // "" for a grant
		gen       int64      // granted
		revokes   bool
	}{
		"the current token":                             {row: never, presented: never, gen: 1},
		"replaced just now":                             {row: superseded(0), presented: older(1), gen: 1},
		"replaced a microsecond short of 30 s ago":      {row: superseded(30*time.Second - microsecond), presented: older(1), gen: 1},
		"replaced 30 s ago":                             {row: superseded(30 * time.Second), presented: older(1), code: "session_revoked", revokes: true},
		"replaced 30 s ago, its successor too just now": {row: superseded(0, 30*time.Second), presented: older(2), code: "session_revoked", revokes: true},
		"replaced just now, twice":                      {row: superseded(0, 29*time.Second), presented: older(2), gen: 2},
		"16 generations ago":                            {row: superseded(sixteen...), presented: older(16), gen: 16},
		"17 generations ago":                            {row: func(r *row) { superseded(sixteen...)(r); r.Generation = 17 }, presented: older(17), code: "session_revoked", revokes: true},
		"an older one of a row that remembers nothing":  {row: func(r *row) { r.Generation = 5 }, presented: older(1), code: "session_revoked", revokes: true},
		"of a future generation":                        {row: never, presented: older(-1), code: "session_unknown"},
		"of this generation, another id":                {row: never, presented: older(0), code: "session_revoked", revokes: true},
		"of another session":                            {row: never, presented: func(r *row) { r.ID = uuid.New() }, code: "session_unknown"},
		"of another user":                               {row: never, presented: func(r *row) { r.User = uuid.New() }, code: "session_unknown"},
		"expires next":                                  {row: func(r *row) { r.ExpiresAt = noon.Add(microsecond) }, presented: func(r *row) { r.ExpiresAt = noon.Add(time.Hour) }, gen: 1},
		"expires now":                                   {row: func(r *row) { r.ExpiresAt = noon }, presented: func(r *row) { r.ExpiresAt = noon.Add(time.Hour) }, code: "session_expired"},
		"expires absolutely now":                        {row: func(r *row) { r.ExpiresAt, r.Absolute = noon, noon }, presented: func(r *row) { r.ExpiresAt = noon.Add(time.Hour) }, code: "session_expired"},
		"expired, and replaced long ago":                {row: func(r *row) { superseded(time.Hour)(r); r.ExpiresAt = noon }, presented: func(r *row) { older(1)(r); r.ExpiresAt = noon.Add(time.Hour) }, code: "session_expired"},
		"revoked":                                       {row: func(r *row) { r.RevokedAt = &noon }, presented: never, code: "session_revoked"},
		"revoked, and replaced just now":                {row: func(r *row) { superseded(0)(r); r.RevokedAt = &noon }, presented: older(1), code: "session_revoked"},
		"of a disabled user":                            {row: never, presented: never, user: "disabled_at = now()", code: "session_revoked"},
		"of an epoch that ended":                        {row: never, presented: never, user: "session_epoch = 1", code: "session_revoked"},
		"of an epoch that has not begun":                {row: func(r *row) { r.Epoch = 1 }, presented: never, code: "session_revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := f.newUser(t)
			bystander := f.session(t, func(r *row) { r.User = user })
			before := f.session(t, func(r *row) {
				r.User, r.IssuedAt = user, noon.Add(-day)
				test.row(r)
			})
			if test.user != "" {
				f.exec(t, "UPDATE users SET "+test.user+" WHERE id = $1", user)
			}
			presented := before
			test.presented(&presented)
			got := post(t, handler, f.cookie(t, presented))
			after := f.row(t, before.ID)

			if got.Body.Code != test.code || (got.Status == http.StatusOK) != (test.code == "") || (test.code != "" && got.Status != http.StatusUnauthorized) {
				t.Errorf("status %d, code %q; want code %q", got.Status, got.Body.Code, test.code)
			}
			if test.code == "" && (got.Body.Generation != test.gen || got.Cookie != f.cookie(t, after)) {
				t.Errorf("granted generation %d with cookie %q; want %d and the row's", got.Body.Generation, got.Cookie, test.gen)
			}
			if rotates := test.code == "" && test.gen > before.Generation; !rotates && !test.revokes && after.Version != before.Version {
				t.Error("the row was written")
			}
			audited := f.count(t, `auth_events WHERE kind = 'refresh_reuse' AND session_id = $1 AND user_id = $2 AND at = $3
				AND detail = jsonb_build_object('presented', $4::bigint, 'current', $5::bigint)`, before.ID, user, noon, presented.Generation, before.Generation)
			revoked := after.RevokedAt != nil && before.RevokedAt == nil
			if revoked != test.revokes || audited != f.count(t, "auth_events WHERE user_id = $1", user) || (audited == 1) != test.revokes {
				t.Errorf("revoked %t, %d audit rows; want %t", revoked, audited, test.revokes)
			}
			if test.revokes {
				if *after.Reason != "reuse" || !after.RevokedAt.Equal(noon) || after.Generation != before.Generation || after.Token != before.Token {
					t.Errorf("revoked into %+v", after)
				}
				if again := post(t, handler, f.cookie(t, before)); again.Body.Code != "session_revoked" || f.count(t, "auth_events WHERE user_id = $1", user) != 1 {
					t.Errorf("afterwards the current token is answered %+v", again.Body)
				}
			}
			if diff := cmp.Diff(bystander, f.row(t, bystander.ID)); diff != "" {
				t.Errorf("another session changed:\n%s", diff)
			}
		})
	}
}

// A replay must not prolong its own grace.
func TestGraceIsFixed(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := f.cookie(t, f.session(t))
	post(t, handler, first)
	f.at(t, noon.Add(29*time.Second))
	if got := post(t, handler, first); got.Status != http.StatusOK {
		t.Fatalf("status %d within the grace", got.Status)
	}
	f.at(t, noon.Add(30*time.Second))
	if got := post(t, handler, first); got.Body.Code != "session_revoked" {
		t.Errorf("status %d after it", got.Status)
	}
}

// Each generation has its own grace, from when it was replaced.
func TestGraceIsPerGeneration(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := f.cookie(t, f.session(t))
	second := post(t, handler, first).Cookie
	f.at(t, noon.Add(20*time.Second))
	third := post(t, handler, second).Cookie
	f.at(t, noon.Add(49*time.Second))
	if got := post(t, handler, second); got.Cookie != third {
		t.Errorf("29 s after the second was replaced: status %d", got.Status)
	}
	if got := post(t, handler, first); got.Body.Code != "session_revoked" {
		t.Errorf("49 s after the first was replaced: status %d", got.Status)
	}
}

func TestNoMoreThanSixteenAreRemembered(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	r := f.session(t)
	cookies := []string{f.cookie(t, r)}
	for range 17 {
		got := post(t, handler, cookies[len(cookies)-1])
		cookies = append(cookies, got.Cookie)
	}
	if after := f.row(t, r.ID); after.Generation != 17 || len(after.Superseded) != 16 {
		t.Fatalf("generation %d remembers %d", after.Generation, len(after.Superseded))
	}
	for i, cookie := range cookies[1:] {
		if got := post(t, handler, cookie); i < 16 && got.Cookie != cookies[17] {
			t.Errorf("generation %d: status %d", i+1, got.Status)
		}
	}
	if got := post(t, handler, cookies[0]); got.Body.Code != "session_revoked" {
		t.Errorf("generation 0: status %d", got.Status)
	}
}

// The caller that waited for another decides on what that one left, and on the
// time after the wait.
func TestWaiterSeesWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		later time.Duration // how far the clock moves during the wait
		code  string
	}{
		"within the grace": {29 * time.Second, ""},
		"after it":         {30 * time.Second, "session_revoked"},
		"after it expired": {8 * day, "session_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			handler := f.handler(t)
			r := f.session(t)
			successor := uuid.New()
			tx, err := f.db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := tx.Exec(t.Context(), `UPDATE sessions SET gen = 1, jti = $2, superseded = ARRAY[$3::timestamptz] WHERE id = $1`, r.ID, successor, noon); err != nil {
				t.Fatal(err)
			}
			waiter := make(chan answer, 1)
			go func() { waiter <- post(t, handler, f.cookie(t, r)) }()
			for f.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0 {
				if len(waiter) > 0 {
					t.Fatalf("nobody waits: %+v", <-waiter)
				}
			}
			f.at(t, noon.Add(test.later))
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := <-waiter
			after := f.row(t, r.ID)
			if got.Body.Code != test.code || after.Generation != 1 || after.Token != successor {
				t.Errorf("status %d, code %q, the row at generation %d; want code %q", got.Status, got.Body.Code, after.Generation, test.code)
			}
			if test.code == "" && got.Cookie != f.cookie(t, after) {
				t.Errorf("the waiter got another successor: %q", got.Cookie)
			}
		})
	}
}

// Twenty callers with one token cause one rotation and leave with one cookie,
// by the real clock.
func TestStormConverges(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.exec(t, `DROP FUNCTION public.clock_timestamp()`)
	handler := f.with(t, map[string]string{"DATABASE_POOL": "8"})
	start := time.Now()
	cookie := f.cookie(t, f.session(t, func(r *row) {
		r.IssuedAt, r.ExpiresAt, r.Absolute = start, start.Add(7*day), start.Add(30*day)
	}))
	for round := range 10 {
		answers := make([]answer, 20)
		var callers sync.WaitGroup
		for i := range answers {
			callers.Go(func() { answers[i] = post(t, handler, cookie) })
		}
		callers.Wait()
		for _, a := range answers {
			if a.Status != http.StatusOK || a.Cookie != answers[0].Cookie || a.Body.Generation != int64(round+1) {
				t.Fatalf("round %d: status %d, generation %d, the same cookie: %t", round, a.Status, a.Body.Generation, a.Cookie == answers[0].Cookie)
			}
		}
		cookie = answers[0].Cookie
	}
}

func TestBadCookiesNeverReachTheDatabase(t *testing.T) {
	t.Parallel()
	f := open(t)
	proxy := pgtest.NewProxy(t, f.url)
	proxy.BreakAt(1) // the first connection would break it
	handler := f.with(t, map[string]string{"DATABASE_URL": proxy.URL})
	r := f.session(t)
	good := f.cookie(t, r)
	other := *f
	other.settings = identitytest.Settings(t)
	access := identitytest.Bearer(t, f.settings, f.user, r.ID, noon)
	for name, test := range map[string]struct {
		cookies []string
		code    string
	}{
		"none":                 {nil, "no_session"},
		"empty":                {[]string{""}, "invalid_session"},
		"junk":                 {[]string{"junk"}, "invalid_session"},
		"long":                 {[]string{strings.Repeat("a", 4<<10)}, "invalid_session"},
		"two":                  {[]string{good, good}, "invalid_session"},
		"signed by another":    {[]string{other.cookie(t, r)}, "invalid_session"},
		"an access token":      {[]string{strings.TrimPrefix(access, "Bearer ")}, "invalid_session"},
		"with its end cut off": {[]string{good[:len(good)-1]}, "invalid_session"},
	} {
		if got := post(t, handler, test.cookies...); got.Status != http.StatusUnauthorized || got.Body.Code != test.code {
			t.Errorf("%s: status %d, code %q", name, got.Status, got.Body.Code)
		}
	}
	if proxy.Broken() {
		t.Error("the database was asked")
	}
}

func TestRefreshWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := open(t)
	cookie := f.cookie(t, f.session(t))
	for n, proxy := range pgtest.Breaks(t, f.url) {
		got := post(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), cookie)
		switch {
		case proxy.Broken() && (got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == ""):
			t.Errorf("step %d: status %d, Retry-After %q", n, got.Status, got.Header.Get("Retry-After"))
		case !proxy.Broken() && (got.Status != http.StatusOK || got.Body.Generation != 1):
			t.Errorf("afterwards: status %d, %+v", got.Status, got.Body)
		}
	}
}

func TestRefreshGivesUpWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	f := open(t)
	r := f.session(t)
	t.Run("on a database that hangs", func(t *testing.T) {
		t.Parallel()
		proxy := pgtest.NewProxy(t, f.url)
		proxy.Hang()
		givesUp(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), f.cookie(t, r))
	})
	t.Run("on a row that is locked", func(t *testing.T) {
		t.Parallel()
		locked := f.session(t)
		handler := f.handler(t)
		tx, err := f.db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
		if _, err := tx.Exec(t.Context(), `SELECT FROM sessions WHERE id = $1 FOR UPDATE`, locked.ID); err != nil {
			t.Fatal(err)
		}
		givesUp(t, handler, f.cookie(t, locked))
	})
}

func givesUp(t *testing.T, handler http.Handler, cookie string) {
	t.Helper()
	started := time.Now()
	got := post(t, handler, cookie)
	if took := time.Since(started); got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || took > 2*time.Second {
		t.Errorf("status %d, Retry-After %q after %s", got.Status, got.Header.Get("Retry-After"), took)
	}
}

func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	f := open(t)
	old, fresh := f.settings["REFRESH_KEYS"], identity.NewKeys()["REFRESH_KEYS"]
	both := strings.TrimSuffix(fresh, "]}") + "," + strings.TrimPrefix(old, `{"keys":[`)
	first := f.cookie(t, f.session(t))
	got := post(t, f.with(t, map[string]string{"REFRESH_KEYS": both}), first)
	if got.Status != http.StatusOK {
		t.Fatalf("status %d for a token of the retiring key", got.Status)
	}
	if again := post(t, f.with(t, map[string]string{"REFRESH_KEYS": fresh}), got.Cookie); again.Status != http.StatusOK {
		t.Errorf("status %d for its successor, with the new key alone", again.Status)
	}
	if again := post(t, f.with(t, map[string]string{"REFRESH_KEYS": fresh}), first); again.Body.Code != "invalid_session" {
		t.Errorf("status %d for a token of a removed key", again.Status)
	}
}

func TestUnusableKeysAreNotTheCallersFault(t *testing.T) {
	t.Parallel()
	f := open(t)
	r := f.session(t)
	cookie := f.cookie(t, r)
	for setting, text := range map[string]string{
		"REFRESH_KEYS": "{}", "ACCESS_SIGNING_KEYS": "{}", "ACCESS_PUBLIC_KEYS": identity.NewKeys()["ACCESS_PUBLIC_KEYS"],
	} {
		got := post(t, f.with(t, map[string]string{setting: text}), cookie)
		if got.Status != http.StatusServiceUnavailable || got.Body.Code != "keys_unusable" {
			t.Errorf("%s: status %d, code %q", setting, got.Status, got.Body.Code)
		}
		// Who has no successor of a token must not be taken for a thief later.
		if f.row(t, r.ID).Version != r.Version {
			t.Errorf("%s: the session moved on without its owner", setting)
		}
	}
}

// trips counts what pgx sends and waits for.
type trips struct{ n atomic.Int32 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (c *trips) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *trips) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	f := open(t)
	config, err := pgxpool.ParseConfig(f.url)
	if err != nil {
		t.Fatal(err)
	}
	count := &trips{}
	config.ConnConfig.Tracer, config.MaxConns = count, 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	handler := f.with(t, nil, func(env *function.Env) {
		function.Shared(env, postgres.Need, func() *postgres.Database { return postgres.Over(pool) })
	})
	r := f.session(t)
	cookie := f.cookie(t, r)
	for _, step := range []struct {
		name   string
		cookie string
		want   int32
	}{
		{"a bad signature", cookie + "A", 0},
		{"rotation on a new connection", cookie, 2},
		{"convergence on a warm one", cookie, 1},
		{"rotation on a warm one", "", 1},
	} {
		if step.cookie == "" {
			step.cookie = f.cookie(t, f.row(t, r.ID))
		}
		count.n.Store(0)
		post(t, handler, step.cookie)
		if got := count.n.Load(); got != step.want {
			t.Errorf("%s takes %d round trips, want %d", step.name, got, step.want)
		}
	}
}

// Behind a transaction pooler statements are not prepared, and pgx knows the
// types of their parameters from Go alone.
func TestRefreshBehindAPooler(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.with(t, map[string]string{"DATABASE_EXEC_MODE": "exec"})
	r := f.session(t)
	cookie := f.cookie(t, r)
	for range 2 {
		if got := post(t, handler, cookie); got.Status != http.StatusOK || got.Body.Generation != 1 {
			t.Errorf("status %d, %+v", got.Status, got.Body)
		}
	}
	f.at(t, noon.Add(time.Minute))
	if got := post(t, handler, cookie); got.Body.Code != "session_revoked" || f.row(t, r.ID).RevokedAt == nil {
		t.Errorf("status %d, %+v", got.Status, got.Body)
	}
}
