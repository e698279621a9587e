package uplink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/uplink"
)

// clock is set by hand.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}
func (c *clock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// world is a line to a collector that answers as a test says.
type world struct {
	*uplink.Line
	clock  clock
	log    bytes.Buffer // to be read between sends
	at     string
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc]
}

func open(t *testing.T, patience time.Duration) *world {
	t.Helper()
	w := &world{}
	w.answers(func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		(*w.answer.Load())(rw, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.at = server.URL
	w.Line = uplink.New("The collector", patience, w.clock.now, slog.New(slog.NewTextHandler(&w.log, nil)))
	t.Cleanup(func() { w.Close(); server.CloseClientConnections(); server.Close() })
	return w
}

func (w *world) answers(h http.HandlerFunc) { w.answer.Store(&h) }

func (w *world) refuses(status int, header ...string) {
	w.answers(func(rw http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			rw.Header()[header[i]] = header[i+1 : i+2]
		}
		rw.WriteHeader(status)
	})
}

func (w *world) post(ctx context.Context) error {
	return w.Post(ctx, w.at+"/in", http.Header{"X-Key": {"k"}}, []byte("body"))
}

// tries sends, and fails unless the collector was asked and took it as wanted.
func (w *world) tries(t *testing.T, asked, taken bool) {
	t.Helper()
	before := w.asked.Load()
	if got := w.Send(t.Context(), w.post); got != taken || (w.asked.Load() > before) != asked {
		t.Errorf("asked %d times, taken: %t; want %t, %t", w.asked.Load()-before, got, asked, taken)
	}
}

const patient = 10 * time.Second

func TestSends(t *testing.T) {
	t.Parallel()
	w := open(t, patient)
	w.answers(func(rw http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) != "body" || r.Header.Get("X-Key") != "k" || r.Method != "POST" || r.URL.Path != "/in" {
			t.Errorf("asked %s %s with %s", r.Method, r.URL, body)
		}
		rw.WriteHeader(http.StatusAccepted)
	})
	w.tries(t, true, true)
	w.tries(t, true, true)
	if w.log.Len() > 0 {
		t.Errorf("the log says %s", &w.log)
	}
}

func TestLeavesACollectorAloneThatFails(t *testing.T) {
	t.Parallel()
	w := open(t, patient)
	w.refuses(500)
	w.tries(t, true, false)
	w.answers(func(http.ResponseWriter, *http.Request) {})
	w.tries(t, true, true) // once is no failure yet
	w.refuses(500)
	w.tries(t, true, false)
	w.tries(t, true, false)
	w.tries(t, false, false)
	w.clock.pass(30*time.Second - 1)
	w.tries(t, false, false)
	w.clock.pass(1)
	w.tries(t, true, false) // one try, and it is left alone again
	w.tries(t, false, false)
	w.clock.pass(30 * time.Second)
	w.answers(func(http.ResponseWriter, *http.Request) {})
	w.tries(t, true, true)
	w.tries(t, true, true)
	if got := w.log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "answered 500") || !strings.Contains(got, "again") {
		t.Errorf("the log says %s", got)
	}
}

func TestLeavesACollectorAloneThatAsksForIt(t *testing.T) {
	t.Parallel()
	date := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		status int
		header []string
		wait   time.Duration
	}{
		"seconds":        {429, []string{"Retry-After", "7"}, 7 * time.Second},
		"no time":        {429, nil, time.Minute},
		"nonsense":       {429, []string{"Retry-After", "-5"}, time.Minute},
		"for ever":       {429, []string{"Retry-After", "99999999"}, time.Hour},
		"a date":         {429, []string{"Retry-After", date.Add(9 * time.Second).Format(http.TimeFormat), "Date", date.Format(http.TimeFormat)}, 9 * time.Second},
		"a date, no now": {429, []string{"Retry-After", date.Format(http.TimeFormat), "Date", "now"}, time.Minute},
		"past":           {429, []string{"Retry-After", date.Format(http.TimeFormat), "Date", date.Add(time.Hour).Format(http.TimeFormat)}, time.Minute},
		"away":           {503, []string{"Retry-After", "11"}, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, patient)
			w.refuses(c.status, c.header...)
			w.tries(t, true, false)
			w.answers(func(http.ResponseWriter, *http.Request) {})
			w.clock.pass(c.wait - 1)
			w.tries(t, false, false)
			if w.Last(t.Context(), w.post) {
				t.Error("the end of the process does not excuse it")
			}
			w.clock.pass(1)
			w.tries(t, true, true)
		})
	}
	w := open(t, patient)
	w.Rest(time.Minute)
	w.Rest(time.Second) // takes nothing back
	w.Rest(0)
	w.clock.pass(time.Minute - 1)
	w.tries(t, false, false)
	w.clock.pass(1)
	w.tries(t, true, true)
	w.refuses(503) // does not say for how long
	w.tries(t, true, false)
	w.tries(t, true, false)
}

// hang waits until the client gives up, which it is to do long before this does.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	select {
	case <-r.Context().Done():
	case <-time.After(5 * time.Second):
	}
}

// Whatever a collector does, a request waits for it no longer than the line's
// patience.
func TestWaitsNoLongerThanItsPatience(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { hang(r) },
		"hangs in the answer": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			_ = http.NewResponseController(w).Flush()
			hang(r)
		},
		"closes": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"truncates": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.WriteHeader(500)
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		},
		"talks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			for began := time.Now(); time.Since(began) < 5*time.Second; {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const patience = 100 * time.Millisecond
			w := open(t, patience)
			w.answers(answer)
			began := time.Now()
			w.tries(t, true, false)
			w.tries(t, true, false)
			if took := time.Since(began); took > 20*patience {
				t.Errorf("waited %s", took)
			}
			w.tries(t, false, false)
			if strings.Contains(w.log.String(), w.at) {
				t.Errorf("the log says where: %s", &w.log)
			}
		})
	}
}

// A client that has left does not have the collector left alone.
func TestSendsForAClientThatHasLeft(t *testing.T) {
	t.Parallel()
	w := open(t, patient)
	left, leave := context.WithCancel(t.Context())
	leave()
	if !w.Send(left, w.post) {
		t.Error("nothing was sent")
	}
}

func TestOneSendsAtATime(t *testing.T) {
	t.Parallel()
	w := open(t, patient)
	arrived, release := make(chan struct{}), make(chan struct{})
	w.answers(func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
	var first sync.WaitGroup
	first.Go(func() { w.Send(context.Background(), w.post) })
	<-arrived
	for range 100 {
		w.tries(t, false, false)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if w.Last(ended, w.post) {
		t.Error("has sent out of turn")
	}
	w.answers(func(http.ResponseWriter, *http.Request) {})
	last := make(chan bool)
	go func() { last <- w.Last(context.Background(), w.post) }()
	close(release)
	first.Wait()
	if !<-last || w.asked.Load() != 2 {
		t.Errorf("the last send was none of %d", w.asked.Load())
	}
}

func TestTheLastSendTriesOnceMore(t *testing.T) {
	t.Parallel()
	w := open(t, patient)
	w.refuses(500)
	w.tries(t, true, false)
	w.tries(t, true, false)
	w.tries(t, false, false)
	w.answers(func(http.ResponseWriter, *http.Request) {})
	if !w.Last(t.Context(), w.post) {
		t.Error("nothing was sent")
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w.answers(func(_ http.ResponseWriter, r *http.Request) { hang(r) })
	if began := time.Now(); w.Last(soon, w.post) || time.Since(began) > patient/4 {
		t.Errorf("the end waited %s", time.Since(began))
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for status, says := range map[int]string{401: "key", 403: "key", 404: "address", 400: "400", 302: "302"} {
		w := open(t, patient)
		w.refuses(status)
		err := w.Post(t.Context(), w.at, http.Header{}, nil)
		var refused *uplink.Refusal
		if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	w := open(t, patient)
	if err := w.Post(t.Context(), ":", nil, nil); err == nil {
		t.Error("posted to nowhere")
	}
}
