package errorreport

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/uplink"
)

func TestDSN(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"https://abc@o1.ingest.sentry.io/42", "https://abc:old@sentry.example.com:9000/7", "http://a@localhost/deep/down/7"} {
		if err := Check(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "hunter2", "https://hunter2", "https://hunter2@/1", "https://o1.sentry.io/1", "https://hunter2@o1.sentry.io", "https://hunter2@o1.sentry.io/",
		"ftp://hunter2@o1.sentry.io/1", "https://hunter2@o1 .sentry.io/1", "https://hunter2@o1.sentry.io:x/1", "sm://hunter2",
	} {
		if err := Check(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What Sentry's client adds of itself, and what a field of the event that nobody
// fills today may hold, does not leave.
func TestOnlyWhatIsListedLeaves(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	e := &sentry.Event{
		Message: secret, ServerName: secret, Dist: secret, Logger: secret, Modules: map[string]string{secret: secret},
		User: sentry.User{Email: secret, IPAddress: secret}, Request: &sentry.Request{URL: secret, Data: secret},
		Breadcrumbs: []*sentry.Breadcrumb{{Message: secret}}, Threads: []sentry.Thread{{Name: secret}},
		Attachments: []*sentry.Attachment{{Payload: []byte(secret)}},
		Exception: []sentry.Exception{{
			Type: "panic", Value: "of a@" + secret, Module: secret, Mechanism: &sentry.Mechanism{Data: map[string]any{secret: secret}},
			Stacktrace: &sentry.Stacktrace{Frames: []sentry.Frame{
				{Module: module + "shared/fault", Function: "New", AbsPath: "/" + secret + "/fault.go", Lineno: 7, ContextLine: secret, Vars: map[string]any{secret: secret}},
				{Module: "net/http", Function: "serve", Filename: secret + "/server.go", InApp: true},
			}},
		}},
	}
	left := told(e)
	text, err := json.Marshal(left)
	if err != nil || strings.Contains(string(text), secret) || len(left.Attachments) > 0 {
		t.Errorf("%s leaves, %v", text, err)
	}
	want := []sentry.Frame{
		{Module: module + "shared/fault", Function: "New", Filename: "shared/fault/fault.go", Lineno: 7, InApp: true},
		{Module: "net/http", Function: "serve", Filename: "net/http/server.go"},
	}
	if diff := cmp.Diff(want, left.Exception[0].Stacktrace.Frames); diff != "" || left.Exception[0].Value != "of [email]" {
		t.Errorf("%s, %s", left.Exception[0].Value, diff)
	}
	if e.Exception[0].Value != "of a@"+secret {
		t.Error("what waits for another try is changed")
	}
}

func TestAnEventThatCannotBeWrittenIsNotTold(t *testing.T) {
	t.Parallel()
	line := uplink.New("Sentry", patience, time.Now, slog.New(slog.DiscardHandler))
	c, err := newClient(t.Context(), line, "http://key@127.0.0.1:1/1", Source{Release: "r", Environment: "e"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.send(&sentry.Event{Contexts: map[string]sentry.Context{"trace": {"of": func() {}}}}); err != errUnsent {
		t.Errorf("got %v", err)
	}
}

// Cloud Run takes the CPU away between requests: what runs on then is at best late.
// The bubble notices who does.
func TestNothingRunsOnAfterSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nobody := setting("http://key@127.0.0.1:1/1")
		r := New(nobody, Source{Release: "r", Environment: "e"}, time.Now, slog.New(slog.DiscardHandler))
		r.Report(t.Context(), httpapi.Failure{Status: 500, Cause: io.EOF})
		if r.due(true) == nil {
			t.Error("what was not sent is gone")
		}
	})
}

type setting string

func (s setting) Get(context.Context) (string, error) { return string(s), nil }
func (setting) Forget()                               {}

// However what was sent overlaps and wherever it stands, none of it is left.
func TestNothingSentIsLeft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.StringMatching(`[A-C]{4,8}`), 1, 5).Draw(t, "sent")
		text := strings.Join(rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(sent), rapid.StringMatching(`[A-C ]{0,6}`))).Draw(t, "text"), "")
		left := without(sent, text)
		for _, value := range sent {
			if strings.Contains(left, value) {
				t.Fatalf("%q is left of %q in %q", value, text, left)
			}
		}
	})
}

func TestTextsAreClipped(t *testing.T) {
	t.Parallel()
	got := scrub(without(nil, strings.Repeat("ä ", mostRead)))
	if len(got) > mostTold+len("…") || !strings.HasSuffix(got, "ä …") && !strings.HasSuffix(got, "ä…") && !strings.HasSuffix(got, " …") {
		t.Errorf("%d bytes, ending %q", len(got), got[len(got)-8:])
	}
	if got := scrub(without([]string{"yes", "x"}, "the cache is full at \xff level 3, shard 12: x of yes")); got != "the cache is full at  level 3, shard 12: x of yes" {
		t.Errorf("plain words become %q", got)
	}
}
