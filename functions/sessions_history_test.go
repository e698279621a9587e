package functions_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// asked is one call as the checker sees it: what was asked of one session.
type asked struct {
	session uuid.UUID
	ends    bool  // sign out, here or everywhere
	looks   bool  // see whether it has ended
	gen     int64 // of the token that was presented
}

// answered is what came of it.
type answered struct {
	lost    bool // the database did not answer in time: it happened, or it did not
	refused bool
	gen     int64
	id      uuid.UUID // of the token that was given
}

// chain is the state of one session: what one caller after the other would see.
// The id is zero while nobody has seen it.
type chain struct {
	gen   int64
	id    uuid.UUID
	ended bool
}

// oneByOne says what each call answers if the calls come one by one, all within
// the grace of thirty seconds. A history of many connections is correct if the
// calls can be put into such an order, each between its start and its end.
var oneByOne = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		sessions := map[uuid.UUID][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(asked).session
			sessions[id] = append(sessions[id], op)
		}
		return slices.Collect(maps.Values(sessions))
	},
	Init: func() []any { return []any{chain{}} },
	Step: func(state, input, output any) []any {
		c, in, out := state.(chain), input.(asked), output.(answered)
		if out.lost {
			return append(c.next(in), c)
		}
		if next := c.step(in, out); next != nil {
			return []any{*next}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(asked), output.(answered)
		switch {
		case out.lost:
			return fmt.Sprintf("refresh %d, end %t: no answer", in.gen, in.ends)
		case in.ends:
			return "end"
		case in.looks:
			return fmt.Sprintf("look: %t", out.refused)
		case out.refused:
			return fmt.Sprintf("refresh %d: refused", in.gen)
		}
		return fmt.Sprintf("refresh %d: %d %.4s", in.gen, out.gen, out.id)
	},
}).ToModel()

// step returns the state after a call, nil if it could not answer so.
func (c chain) step(in asked, out answered) *chain {
	age := c.gen - in.gen
	switch {
	case in.ends:
		c.ended = true
		return possible(!out.refused, c)
	case c.ended:
		return possible(out.refused, c)
	case in.looks:
		return possible(!out.refused, c)
	case age > 16:
		c.ended = true
		return possible(out.refused, c)
	case age < 0 || out.refused: // a token before it was given, or one that was good
		return nil
	case age == 0:
		return possible(out.gen == c.gen+1 && out.id != c.id, chain{gen: out.gen, id: out.id})
	}
	seen := c.id
	c.id = out.id
	return possible(out.gen == c.gen && (out.id == seen || seen == uuid.Nil), c)
}

func possible(is bool, next chain) *chain {
	if is {
		return &next
	}
	return nil
}

// next returns the states after a call whose answer nobody saw.
func (c chain) next(in asked) []any {
	age := c.gen - in.gen
	switch {
	case in.looks || c.ended:
		return nil
	case in.ends || age > 16:
		c.ended = true
		return []any{c}
	case age == 0:
		return []any{chain{gen: c.gen + 1}}
	}
	return nil
}

// recorder keeps a history.
type recorder struct {
	started time.Time
	mu      sync.Mutex
	history []porcupine.Operation
}

// record keeps a call, and what it asked of each session it was about.
func (r *recorder) record(client int, call func() (answered, []asked)) {
	begun := time.Since(r.started)
	out, asks := call()
	ended := time.Since(r.started)
	r.mu.Lock()
	defer r.mu.Unlock()
	if out.lost {
		ended = time.Hour // it may still happen
	}
	for _, in := range asks {
		r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: begun.Nanoseconds(), Output: out, Return: ended.Nanoseconds()})
	}
}

// pocket holds the tokens of one session, which many callers share.
type pocket struct {
	session uuid.UUID
	mu      sync.Mutex
	tokens  []reply
}

func (p *pocket) put(got reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens = append(p.tokens, got)
}

// pick returns the newest token, one of the few before it, or, rarely, any.
func (p *pocket) pick(random *rand.Rand) reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	back := 0
	switch n := random.IntN(400); {
	case n == 0:
		back = random.IntN(len(p.tokens))
	case n < 150:
		back = random.IntN(4)
	}
	return p.tokens[max(0, len(p.tokens)-1-back)]
}

// caller calls over a connection of its own.
type caller struct {
	*estate
	t      *testing.T
	client http.Client
}

func (c *caller) post(url string, with request) reply {
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		c.t.Error(err)
		return reply{}
	}
	if with.cookie != "" {
		r.AddCookie(&http.Cookie{Name: httpapi.RefreshCookie, Value: with.cookie})
	}
	if with.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+with.bearer)
	}
	response, err := c.client.Do(r)
	if err != nil {
		c.t.Error(err)
		return reply{}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable {
		c.t.Errorf("status %d, %s, %v", response.StatusCode, text, err)
	}
	return c.read(c.t, response, string(text))
}

func outcome(got reply) answered {
	return answered{lost: got.status == http.StatusServiceUnavailable, refused: got.status == http.StatusUnauthorized}
}

// Sixteen callers, each on a connection of its own, refresh and end a few
// sessions of one user, and all that they were answered could have been answered
// one by one.
func TestHistoriesAreLinear(t *testing.T) {
	t.Parallel()
	const callers, calls, rounds = 16, 30, 10
	e := openLiveEstate(t, "16")
	hash := e.hash(t)
	var servers []string
	for _, handler := range append(slices.Clone(e.refreshes), e.auth) {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		servers = append(servers, s.URL)
	}
	refreshes, authority := servers[:2], servers[2]
	for round := range rounds {
		seed := rand.Uint64()
		owner := e.newPerson(t, hash)
		e.now = time.Now()
		var pockets []*pocket
		for range 3 {
			got := e.openSession(t, owner, 0)
			pockets = append(pockets, &pocket{session: got.token.Session, tokens: []reply{got}})
		}
		r := &recorder{started: time.Now()}
		var all sync.WaitGroup
		for n := range callers {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(n)))
				c := &caller{estate: e, t: t, client: http.Client{Transport: &http.Transport{}}}
				defer c.client.CloseIdleConnections()
				for range calls {
					p := pockets[random.IntN(len(pockets))]
					from := p.pick(random)
					in := asked{session: p.session, gen: from.token.Generation}
					call := func() (answered, []asked) {
						got := c.post(refreshes[random.IntN(2)]+"/api/auth/refresh", request{cookie: from.cookie})
						if got.status == http.StatusOK {
							p.put(got)
						}
						out := outcome(got)
						out.gen, out.id = got.token.Generation, got.token.ID
						return out, []asked{in}
					}
					switch random.IntN(600) {
					case 0:
						call = func() (answered, []asked) {
							return outcome(c.post(authority+"/api/auth/logout", request{cookie: from.cookie})), []asked{{session: p.session, ends: true}}
						}
					case 1:
						call = func() (answered, []asked) {
							out := outcome(c.post(authority+"/api/auth/logout-everywhere", request{bearer: from.access}))
							if out.refused { // which only one whose session has ended is told
								return out, []asked{{session: p.session, looks: true}}
							}
							ends := make([]asked, len(pockets))
							for i, p := range pockets {
								ends[i] = asked{session: p.session, ends: true}
							}
							return out, ends
						}
					}
					r.record(n, call)
				}
			})
		}
		all.Wait()
		result, info := porcupine.CheckOperationsVerbose(oneByOne, r.history, 30*time.Second)
		if result != porcupine.Ok {
			path := filepath.Join(t.ArtifactDir(), "history.html") // go test -artifacts keeps it
			if err := porcupine.VisualizePath(oneByOne, info, path); err != nil {
				t.Error(err)
			}
			t.Fatalf("round %d of seed %d: the history is %s; %s shows it", round, seed, result, path)
		}
	}
}

// The checker is worth nothing if it takes any history.
func TestTheCheckerRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	session, a, b := uuid.New(), uuid.New(), uuid.New()
	type op struct {
		from, to int64
		gen      int64 // presented; below 0 ends the session
		out      answered
	}
	for name, test := range map[string]struct {
		calls []op
		want  porcupine.CheckResult
	}{
		"one rotates, one converges":       {[]op{{0, 9, 0, answered{gen: 1, id: a}}, {1, 8, 0, answered{gen: 1, id: a}}}, porcupine.Ok},
		"both rotate":                      {[]op{{0, 9, 0, answered{gen: 1, id: a}}, {1, 8, 0, answered{gen: 1, id: b}}}, porcupine.Illegal},
		"a generation is left out":         {[]op{{0, 9, 0, answered{gen: 2, id: a}}}, porcupine.Illegal},
		"an older one after a newer one":   {[]op{{0, 1, 0, answered{gen: 1, id: a}}, {2, 3, 1, answered{gen: 2, id: b}}, {4, 5, 0, answered{gen: 1, id: a}}}, porcupine.Illegal},
		"granted while it ended":           {[]op{{0, 9, -1, answered{}}, {1, 8, 0, answered{gen: 1, id: a}}}, porcupine.Ok},
		"granted after it ended":           {[]op{{0, 1, -1, answered{}}, {2, 3, 0, answered{gen: 1, id: a}}}, porcupine.Illegal},
		"refused and nothing ever ended":   {[]op{{0, 1, 0, answered{refused: true}}}, porcupine.Illegal},
		"refused before it ended":          {[]op{{0, 1, 0, answered{refused: true}}, {2, 3, -1, answered{}}}, porcupine.Illegal},
		"its answer was lost":              {[]op{{0, 9, 0, answered{lost: true}}, {1, 2, 0, answered{gen: 1, id: a}}, {3, 4, 1, answered{gen: 2, id: b}}}, porcupine.Ok},
		"a lost one had rotated":           {[]op{{0, 9, 1, answered{lost: true}}, {1, 2, 0, answered{gen: 1, id: a}}, {3, 4, 0, answered{gen: 2, id: b}}, {5, 6, 1, answered{gen: 2, id: b}}}, porcupine.Ok},
		"a lost one explains no two":       {[]op{{0, 9, 1, answered{lost: true}}, {1, 2, 0, answered{gen: 1, id: a}}, {3, 4, 0, answered{gen: 2, id: b}}, {5, 6, 1, answered{gen: 2, id: a}}}, porcupine.Illegal},
		"a token before it could be given": {[]op{{0, 1, 1, answered{gen: 2, id: a}}, {2, 3, 0, answered{gen: 1, id: b}}}, porcupine.Illegal},
	} {
		var history []porcupine.Operation
		for i, o := range test.calls {
			in := asked{session: session, gen: o.gen, ends: o.gen < 0}
			history = append(history, porcupine.Operation{ClientId: i, Input: in, Call: o.from, Output: o.out, Return: o.to})
		}
		if got := porcupine.CheckOperationsTimeout(oneByOne, history, 0); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
