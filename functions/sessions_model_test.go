package functions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

const (
	day         = 24 * time.Hour
	grace       = 30 * time.Second
	microsecond = time.Microsecond // the resolution of PostgreSQL
)

// family is a session as the rules say it is, written from them and not from the
// statements.
type family struct {
	id       uuid.UUID
	owner    *person
	epoch    int
	cookies  []string    // by generation
	replaced []time.Time // by generation, but for the current one
	expires  time.Time
	absolute time.Time
	ended    string // why its row says so, "" while it does not
	endedAt  time.Time
	gone     bool // its row was pruned
	reuses   int
	blame    string // the first thing that happened for which it may end
}

func (f *family) current() int64 { return int64(len(f.cookies) - 1) }

// late tells whether a token of the generation was replaced too long ago, in time
// or in generations.
func (f *family) late(gen int64, now time.Time) bool {
	return gen < f.current() && (f.current()-gen > 16 || !now.Before(f.replaced[gen].Add(grace)))
}

func (f *family) dead() bool {
	return f.gone || f.ended != "" || f.owner.disabled || f.epoch != f.owner.epoch
}

func (f *family) expired(now time.Time) bool { return !now.Before(f.expires) }

// extend has the session last for seven days from now, or to its absolute end.
func (f *family) extend(now time.Time) {
	f.expires = now.Add(7 * day)
	if f.absolute.Before(f.expires) {
		f.expires = f.absolute
	}
}

func (f *family) accuse(of string) {
	if f.blame == "" {
		f.blame = of
	}
}

// browser is a cookie jar with one cookie, and a page that follows the rule for
// clients: an answer whose gen is lower than the highest seen means that an older
// one came last, so it refreshes again at once.
type browser struct {
	owner   *person
	jar     string
	until   time.Time // when the jar forgets it
	access  string
	valid   time.Time // until when access is
	of      uuid.UUID // the session of access
	highest int64
	flights []reply // answers on their way; they may overtake each other
	lost    bool    // an answer never came: the page will ask again when it needs one
	mixed   bool    // answers of several sessions were on their way at once
}

func (b *browser) cookie(now time.Time) string {
	if now.Before(b.until) {
		return b.jar
	}
	return ""
}

// take does what a browser and its page do with an answer that gives tokens: the
// jar counts from when it comes, the page from when it was asked for. It tells
// whether the page refreshes again.
func (b *browser) take(got reply, now time.Time) (again bool) {
	b.jar, b.until = got.cookie, now.Add(time.Duration(got.keep)*time.Second)
	b.access, b.valid, b.of = got.access, got.at.Add(time.Duration(got.expires)*time.Second), got.token.Session
	if *got.gen < b.highest {
		return true
	}
	b.highest, b.lost = *got.gen, false
	return false
}

// begin is take for a sign-in.
func (b *browser) begin(got reply, now time.Time) {
	b.highest, b.mixed = 0, len(b.flights) > 0
	b.take(got, now)
}

func (b *browser) leave() { b.access, b.highest = "", 0 }

// machine is the estate, the model of it, and those who use it.
type machine struct {
	*estate
	people   []*person
	families []*family
	browsers []*browser
	stolen   []string
	issued   map[uuid.UUID]string // every token ever given, by its id
	before   map[uuid.UUID]row
	touched  map[uuid.UUID]bool // sessions whose rows the last action may write
}

func newMachine(t *rapid.T, e *estate, hash string) *machine {
	e.setClock(t, noon)
	m := &machine{estate: e, issued: map[uuid.UUID]string{}, touched: map[uuid.UUID]bool{}}
	ada, bob := e.newPerson(t, hash), e.newPerson(t, hash)
	m.people = []*person{ada, bob}
	m.browsers = []*browser{{owner: ada}, {owner: ada}, {owner: bob}}
	m.before = m.rows(t, ada.id, bob.id)
	for _, b := range m.browsers[1:] {
		ago := rapid.SampledFrom([]time.Duration{0, 22 * day, 23*day + time.Second, 30*day - 16*time.Minute, 30*day - 2*time.Minute}).Draw(t, "begun before")
		got := m.openSession(t, b.owner, ago)
		m.opened(t, b.owner, ago, got)
		b.begin(got, m.now)
	}
	return m
}

// seldom gives an action up more often than not: what computes hashes would take
// all the time.
func seldom(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "seldom") > 0 {
		t.Skip("not now")
	}
}

func (m *machine) find(t *rapid.T, id uuid.UUID) *family {
	i := slices.IndexFunc(m.families, func(f *family) bool { return f.id == id })
	if i < 0 {
		t.Fatalf("a token of the session %s, which nobody opened", id)
	}
	return m.families[i]
}

// holds checks an answer that gives tokens against the family it is of.
func (m *machine) holds(t *rapid.T, f *family, got reply) {
	f2, seen := m.issued[got.token.ID]
	switch {
	case seen && f2 != got.cookie:
		t.Fatalf("two tokens have the id %s", got.token.ID)
	case got.gen == nil || *got.gen != f.current() || got.token.Generation != f.current():
		t.Fatalf("the answer says generation %v, its token %d; want %d", got.gen, got.token.Generation, f.current())
	case got.cookie != f.cookies[f.current()]:
		t.Fatalf("generation %d has two tokens", f.current())
	case got.token.User != f.owner.id || got.token.Session != f.id:
		t.Fatalf("a token of %s for %s, want one of %s for %s", got.token.Session, got.token.User, f.id, f.owner.id)
	case got.keep != int(f.expires.Sub(m.now)/time.Second):
		t.Fatalf("the cookie is kept for %d s, the session for %s", got.keep, f.expires.Sub(m.now))
	}
	m.issued[got.token.ID] = got.cookie
	access, err := m.verifier.Access(context.Background(), got.access)
	most := m.now.Add(identity.AccessLifetime)
	if f.absolute.Before(most) {
		most = f.absolute
	}
	if err != nil || access.User != f.owner.id || access.Session != f.id || access.ExpiresAt.After(most) {
		t.Fatalf("the access token says %+v, %v; want it to end by %s", access, err, most)
	}
}

// present sends a refresh token and holds the answer to the rules.
func (m *machine) present(t *rapid.T, cookie string) reply {
	token, err := m.signer.ReadRefresh(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	f, gen := m.find(t, token.Session), token.Generation
	m.accuse(f, gen)
	got := m.refresh(t, rapid.IntRange(0, 1).Draw(t, "instance"), cookie)
	m.settle(t, f, gen, got)
	return got
}

func (m *machine) accuse(f *family, gen int64) {
	switch {
	case f.expired(m.now):
		f.accuse("it expired")
	case f.late(gen, m.now):
		f.accuse("a token was presented late")
	}
}

// settle moves the model on by one presented token and compares the answer.
func (m *machine) settle(t *rapid.T, f *family, gen int64, got reply) {
	refused := func(code string) {
		if got.status != http.StatusUnauthorized || got.code != code {
			t.Fatalf("generation %d of %d: status %d, code %q; want %q", gen, f.current(), got.status, got.code, code)
		}
		if f.blame == "" {
			t.Fatalf("generation %d of %d was refused, and nothing ever happened for it", gen, f.current())
		}
	}
	granted := func() {
		if got.status != http.StatusOK {
			t.Fatalf("generation %d of %d: status %d, code %q", gen, f.current(), got.status, got.code)
		}
	}
	switch {
	case f.gone:
		refused("session_unknown")
	case f.dead():
		refused("session_revoked")
	case f.expired(m.now):
		refused("session_expired")
	case gen == f.current():
		granted()
		if m.issued[got.token.ID] != "" {
			t.Fatalf("the id %s was given before", got.token.ID)
		}
		m.touched[f.id] = true
		f.cookies, f.replaced = append(f.cookies, got.cookie), append(f.replaced, m.now)
		f.extend(m.now)
		m.holds(t, f, got)
	case f.late(gen, m.now):
		m.touched[f.id] = true
		f.ended, f.endedAt = "reuse", m.now
		f.reuses++
		refused("session_revoked")
	default:
		granted()
		m.holds(t, f, got)
	}
}

// opened adds the session that an answer opened, which began so long ago.
func (m *machine) opened(t *rapid.T, owner *person, ago time.Duration, got reply) {
	if m.issued[got.token.ID] != "" {
		t.Fatalf("the id %s was given before", got.token.ID)
	}
	f := &family{
		id: got.token.Session, owner: owner, epoch: owner.epoch, cookies: []string{got.cookie},
		absolute: m.now.Add(30*day - ago),
	}
	f.extend(m.now)
	m.families = append(m.families, f)
	m.touched[f.id] = true
	m.holds(t, f, got)
}

func (m *machine) end(f *family, why string) {
	if f.ended == "" && !f.gone {
		m.touched[f.id] = true
		f.ended, f.endedAt = why, m.now
	}
	f.accuse(why)
}

func (m *machine) endAll(owner *person, why string) {
	owner.epoch++
	for _, f := range m.families {
		if f.owner == owner {
			m.end(f, why)
		}
	}
}

// ofCookie ends the session of a cookie that was sent to auth.
func (m *machine) ofCookie(t *rapid.T, cookie, why string) {
	if cookie == "" {
		return
	}
	token, err := m.signer.ReadRefresh(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	m.end(m.find(t, token.Session), why)
}

func (m *machine) signIn(t *rapid.T, b *browser) {
	sent := b.cookie(m.now)
	got := m.login(t, b.owner, b.owner.password, sent)
	if b.owner.disabled {
		m.turnedAway(t, b.owner, got)
		return
	}
	if got.status != http.StatusOK {
		t.Fatalf("login: status %d, %s", got.status, got.raw)
	}
	m.ofCookie(t, sent, "replaced")
	m.opened(t, b.owner, 0, got)
	b.begin(got, m.now)
}

// turnedAway holds the answer to somebody who is disabled: that of a wrong password,
// or that of an account that has failed too often to be tried now. RATE_LIMIT_SCALE
// leaves that wait as it is.
func (m *machine) turnedAway(t *rapid.T, p *person, got reply) {
	if m.now.Before(p.waits) {
		if got.status != http.StatusTooManyRequests || got.code != "too_many_requests" {
			t.Fatalf("a disabled user signs in for the %d. time, before %s: status %d, %s", p.failures+1, p.waits, got.status, got.raw)
		}
		return
	}
	if got.status != http.StatusUnauthorized || got.code != "wrong_credentials" {
		t.Fatalf("a disabled user signs in: status %d, %s", got.status, got.raw)
	}
	p.failures++
	if over := p.failures - ratelimit.Backoff.Free; over >= 0 {
		p.waits = m.now.Add(min(ratelimit.Backoff.Longest, ratelimit.Backoff.First<<min(over, 30)))
	}
}

// The actions.

// one draws one of those that fit, or gives the action up.
func one[T any](t *rapid.T, name string, from []T, fits func(T) bool) T {
	all := slices.DeleteFunc(slices.Clone(from), func(v T) bool { return !fits(v) })
	if len(all) == 0 {
		t.Skip("there is no " + name)
	}
	return rapid.SampledFrom(all).Draw(t, name)
}

func (m *machine) browser(t *rapid.T, fits func(*browser) bool) *browser {
	i := one(t, "browser", []int{0, 1, 2}, func(i int) bool { return fits(m.browsers[i]) })
	return m.browsers[i]
}

func (m *machine) hasCookie(b *browser) bool { return b.cookie(m.now) != "" }
func hasFlight(b *browser) bool              { return len(b.flights) > 0 }
func (m *machine) hasAccess(b *browser) bool { return b.access != "" && m.now.Before(b.valid) }

// Refresh has a page refresh; its answer is on its way.
func (m *machine) Refresh(t *rapid.T) { m.send(t, m.browser(t, m.hasCookie)) }

func (m *machine) send(t *rapid.T, b *browser) {
	if !m.hasCookie(b) {
		return
	}
	if got := m.present(t, b.jar); got.status == http.StatusOK {
		b.flights = append(b.flights, got)
	} else {
		b.leave()
	}
}

// Burst has a page refresh many times, one after the other.
func (m *machine) Burst(t *rapid.T) {
	b := m.browser(t, m.hasCookie)
	for range rapid.IntRange(2, 20).Draw(t, "times") {
		got := m.present(t, b.jar)
		if got.status != http.StatusOK {
			b.leave()
			return
		}
		b.take(got, m.now)
	}
}

// Storm has several tabs refresh at once.
func (m *machine) Storm(t *rapid.T) {
	b := m.browser(t, m.hasCookie)
	token, err := m.signer.ReadRefresh(t.Context(), b.jar)
	if err != nil {
		t.Fatal(err)
	}
	f := m.find(t, token.Session)
	m.accuse(f, token.Generation)
	answers := make([]reply, 4)
	var tabs sync.WaitGroup
	for i := range answers {
		tabs.Go(func() { answers[i] = m.refresh(t, i%2, b.jar) })
	}
	tabs.Wait()
	current := f.current()
	for _, got := range answers {
		m.settle(t, f, token.Generation, got)
		if got.status == http.StatusOK {
			b.flights = append(b.flights, got)
		} else {
			b.leave()
		}
	}
	if f.current() > current+1 {
		t.Fatalf("one token was rotated %d times", f.current()-current)
	}
}

// Deliver has an answer arrive, whichever of those on their way.
func (m *machine) Deliver(t *rapid.T) { m.deliver(t, m.browser(t, hasFlight)) }

func (m *machine) deliver(t *rapid.T, b *browser) {
	i := rapid.IntRange(0, len(b.flights)-1).Draw(t, "answer")
	got := b.flights[i]
	b.flights = slices.Delete(b.flights, i, i+1)
	if b.take(got, m.now) {
		m.send(t, b)
	}
}

// Lose has an answer never arrive.
func (m *machine) Lose(t *rapid.T) {
	b := m.browser(t, hasFlight)
	i := rapid.IntRange(0, len(b.flights)-1).Draw(t, "answer")
	b.flights, b.lost = slices.Delete(b.flights, i, i+1), true
}

// Steal copies what a browser has or is about to get.
func (m *machine) Steal(t *rapid.T) {
	b := m.browser(t, func(b *browser) bool { return m.hasCookie(b) || hasFlight(b) })
	from := []string{b.jar}
	for _, got := range b.flights {
		from = append(from, got.cookie)
	}
	m.stolen = append(m.stolen, one(t, "cookie", from, func(c string) bool { return c != "" }))
}

// Thieve has a thief refresh with a stolen token and keep what comes of it.
func (m *machine) Thieve(t *rapid.T) {
	if len(m.stolen) == 0 {
		t.Skip("nothing was stolen")
	}
	i := rapid.IntRange(0, len(m.stolen)-1).Draw(t, "stolen")
	if got := m.present(t, m.stolen[i]); got.status == http.StatusOK {
		m.stolen[i] = got.cookie
	}
}

// Replay presents any token that was ever given, and most often one near the end
// of what is remembered. Nobody gets the answer.
func (m *machine) Replay(t *rapid.T) {
	f := m.families[rapid.IntRange(0, len(m.families)-1).Draw(t, "session")]
	age := rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64Range(15, 18), rapid.Int64Range(0, 60)).Draw(t, "age")
	m.present(t, f.cookies[max(0, f.current()-age)])
}

// Login signs in, over whatever session the browser has.
func (m *machine) Login(t *rapid.T) {
	seldom(t)
	m.signIn(t, m.browser(t, func(*browser) bool { return true }))
}

// Logout signs a browser out.
func (m *machine) Logout(t *rapid.T) {
	b := m.browser(t, m.hasCookie)
	if got := m.logout(t, b.jar); got.status != http.StatusNoContent || got.keep >= 0 {
		t.Fatalf("logout: status %d, %s", got.status, got.raw)
	}
	m.ofCookie(t, b.jar, "logout")
	b.jar = ""
	b.leave()
}

// asks has the page of b call a route that wants a living session, and tells
// whether it has one.
func (m *machine) asks(t *rapid.T, b *browser, got reply, status int) bool {
	if m.find(t, b.of).dead() {
		if got.status != http.StatusUnauthorized || got.code != "session_revoked" {
			t.Fatalf("after its session ended: status %d, %s", got.status, got.raw)
		}
		return false
	}
	if got.status != status {
		t.Fatalf("status %d, %s; want %d", got.status, got.raw, status)
	}
	return true
}

// LogoutEverywhere ends all sessions of a user.
func (m *machine) LogoutEverywhere(t *rapid.T) {
	b := m.browser(t, m.hasAccess)
	got := m.logoutEverywhere(t, b.access)
	if !m.asks(t, b, got, http.StatusNoContent) {
		return
	}
	if got.keep >= 0 {
		t.Fatal("the cookie stays")
	}
	m.endAll(b.owner, "everywhere")
	b.jar = ""
	b.leave()
}

// ChangePassword gives a user another password, and one new session.
func (m *machine) ChangePassword(t *rapid.T) {
	seldom(t)
	b := m.browser(t, m.hasAccess)
	if rapid.IntRange(0, 4).Draw(t, "wrong") == 0 {
		m.asks(t, b, m.changePassword(t, b.access, "not the password", password+"!"), http.StatusForbidden)
		return
	}
	next := fmt.Sprintf("another unlikely phrase, number %d", b.owner.epoch)
	got := m.changePassword(t, b.access, b.owner.password, next)
	if !m.asks(t, b, got, http.StatusOK) {
		return
	}
	m.endAll(b.owner, "password")
	b.owner.password = next
	m.opened(t, b.owner, 0, got)
	b.begin(got, m.now)
}

// EndSession ends one session from another, if it is of the same user.
func (m *machine) EndSession(t *rapid.T) {
	b := m.browser(t, m.hasAccess)
	f := m.families[rapid.IntRange(0, len(m.families)-1).Draw(t, "session")]
	want := http.StatusNoContent
	if f.owner != b.owner || f.gone {
		want = http.StatusNotFound
	}
	got := m.call(t, m.auth, http.MethodDelete, "/api/auth/sessions/"+f.id.String(), request{bearer: b.access})
	if m.asks(t, b, got, want) && want == http.StatusNoContent {
		m.end(f, "ended")
	}
}

// List lists the sessions of a user: those that live, and no others.
func (m *machine) List(t *rapid.T) {
	b := m.browser(t, m.hasAccess)
	got := m.call(t, m.auth, http.MethodGet, "/api/auth/sessions", request{bearer: b.access})
	if m.find(t, b.of).expired(m.now) || !m.asks(t, b, got, http.StatusOK) {
		return
	}
	var list struct {
		Sessions []struct {
			ID      uuid.UUID
			Current bool
		}
	}
	if err := json.Unmarshal([]byte(got.raw), &list); err != nil {
		t.Fatal(err)
	}
	listed := map[uuid.UUID]bool{}
	for _, s := range list.Sessions {
		listed[s.ID] = true
		if s.Current != (s.ID == b.of) {
			t.Fatalf("%s is the current one: %t", s.ID, s.Current)
		}
	}
	for _, f := range m.families {
		if lives := f.owner == b.owner && !f.dead() && !f.expired(m.now); lives != listed[f.id] {
			t.Fatalf("the session %s is listed: %t, lives: %t", f.id, listed[f.id], lives)
		}
	}
}

// Disable disables a user, rarely: nothing comes after it.
func (m *machine) Disable(t *rapid.T) {
	seldom(t)
	p := one(t, "person", m.people, func(p *person) bool { return !p.disabled })
	m.exec(t, `UPDATE users SET disabled_at = $2 WHERE id = $1`, p.id, m.now)
	p.disabled = true
	for _, f := range m.families {
		if f.owner == p {
			f.accuse("disabled")
		}
	}
}

// Prune forgets the sessions of which no token is good any more.
func (m *machine) Prune(t *rapid.T) {
	got := m.call(t, m.rollup, http.MethodPost, "/api/rollup/prune", request{})
	if got.status != http.StatusOK {
		t.Fatalf("status %d, %s", got.status, got.raw)
	}
	rows := m.rows(t, m.people[0].id, m.people[1].id)
	for _, f := range m.families {
		if _, kept := rows[f.id]; kept || f.gone {
			continue
		}
		if f.ended == "" && !f.expired(m.now) {
			t.Fatalf("%s was pruned, and lives", f.id)
		}
		for _, cookie := range f.cookies {
			token, err := m.signer.ReadRefresh(t.Context(), cookie)
			if err != nil || !token.ExpiresAt.Before(m.now) {
				t.Fatalf("%s was pruned, and a token of it expires at %s; %v", f.id, token.ExpiresAt, err)
			}
		}
		f.gone = true
		f.accuse("pruned")
	}
	for _, f := range m.families {
		if old := m.now.Add(-9 * day); !f.gone && (f.expires.Before(old) || f.ended != "" && f.endedAt.Before(old)) {
			t.Fatalf("%s was not pruned, and expired at %s or ended at %s", f.id, f.expires, f.endedAt)
		}
	}
}

// Tick lets time go on.
func (m *machine) Tick(t *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{
		microsecond, time.Second, 10 * time.Second, grace - microsecond, grace, time.Minute, 15 * time.Minute, day, 7*day - microsecond, 7 * day,
	}).Draw(t, "by")
	m.setClock(t, m.now.Add(by))
}

// Check compares each row with the model, and sees that nothing was written that
// the last action had no business with: a token that converges writes nothing,
// and one session's tokens never touch another.
func (m *machine) Check(t *rapid.T) {
	after := m.rows(t, m.people[0].id, m.people[1].id)
	for _, f := range m.families {
		r, there := after[f.id]
		before := m.before[f.id]
		if there == f.gone {
			t.Fatalf("the row of %s is there: %t; pruned: %t", f.id, there, f.gone)
		}
		if f.gone {
			continue
		}
		remembers := slices.Clone(f.replaced[max(0, len(f.replaced)-16):])
		slices.Reverse(remembers)
		switch {
		case r.User != f.owner.id || r.Gen != f.current() || m.issued[r.Token] != f.cookies[f.current()] || r.Epoch != f.epoch:
			t.Fatalf("%+v should be of %s, generation %d, epoch %d", r, f.owner.id, f.current(), f.epoch)
		case !sameTimes(r.Superseded, remembers):
			t.Fatalf("remembers %v, want %v", r.Superseded, remembers)
		case !r.Expires.Equal(f.expires) || !r.Absolute.Equal(f.absolute) || r.Expires.After(r.Absolute):
			t.Fatalf("expires %s (%s), want %s (%s)", r.Expires, r.Absolute, f.expires, f.absolute)
		case r.Ended != (f.ended != "") || r.Reason != f.ended || r.Reuses != f.reuses:
			t.Fatalf("ended because %q, %d reuses; want %q, %d", r.Reason, r.Reuses, f.ended, f.reuses)
		case r.Version != before.Version && !m.touched[f.id]:
			t.Fatalf("the row of %s was written", f.id)
		}
	}
	for id := range after {
		m.find(t, id)
	}
	m.before = after
	clear(m.touched)
	for _, b := range m.browsers {
		m.settled(t, b)
	}
}

// settled checks the client rule: once nothing is on its way, the jar holds the
// newest token that ever came, in whatever order they came.
func (m *machine) settled(t *rapid.T, b *browser) {
	if hasFlight(b) || b.lost || b.mixed || b.access == "" || !m.hasCookie(b) {
		return
	}
	token, err := m.signer.ReadRefresh(t.Context(), b.jar)
	if err != nil {
		t.Fatal(err)
	}
	if token.Generation != b.highest {
		t.Fatalf("the jar is left with generation %d, and %d was seen", token.Generation, b.highest)
	}
}

// drain delivers what is on its way, in any order, has each page refresh once
// more, and loses nothing of that.
func (m *machine) drain(t *rapid.T) {
	for _, b := range m.browsers {
		m.send(t, b)
		for hasFlight(b) {
			m.deliver(t, b)
			m.Check(t)
		}
		if b.lost && b.access != "" && m.hasCookie(b) {
			t.Fatal("nothing is on its way, and an answer is still missed")
		}
	}
}

// TestSessionsKeepTheirPromises drives the functions through any sequence of
// what people, thieves, networks and clocks do.
func TestSessionsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	e := openEstate(t)
	hash := e.hash(t)
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, e, hash)
		t.Repeat(rapid.StateMachineActions(m))
		m.drain(t)
	})
}
