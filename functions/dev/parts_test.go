package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func TestBarIsDrawnForLongImportsOnly(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	draw := bar(&out)
	draw(history.Progress{Done: 10})
	draw(history.Progress{Done: 4000})
	if out.Len() > 0 {
		t.Errorf("a short import draws %q", &out)
	}
	draw(history.Progress{Done: 25_000, Total: 100_000})
	if !strings.Contains(out.String(), "25%") {
		t.Errorf("a quarter of a long import draws %q", &out)
	}
	if terminal(&out) || terminal(os.NewFile(^uintptr(0), "closed")) {
		t.Error("what is no terminal passes for one")
	}
}

func TestSaysWhatAnImportDid(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]history.Result{
		"shop: nothing new, checked in":                       {Name: "shop", Unchanged: true},
		"shop: 2 new commits, 1 deployment, 0 changes in":     {Name: "shop", Commits: 2, Deployments: 1, DeployedBy: history.ByTag},
		"each commit on the main line counts as a deployment": {Name: "shop", DeployedBy: history.ByCommit},
		"3 other tags left out; -tags REGEXP decides":         {Name: "shop", DeployedBy: history.ByTag, Skipped: history.Skipped{OtherTags: 3}},
		"1 version tag names no commit and was left out":      {Name: "shop", DeployedBy: history.ByTag, Skipped: history.Skipped{NotCommits: 1}},
		"2 version tags name no commit and were left out":     {Name: "shop", DeployedBy: history.ByTag, Skipped: history.Skipped{NotCommits: 2}},
	} {
		if got := said(r, time.Now()); !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
}

func TestConsoleWritesOneShortLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := newConsole(&out)
	log := slog.New(c).With("function", "dev").WithGroup("g")
	log.Info("before it serves")
	log.Error("early failure", "error", errors.New("no luck"))
	c.serving.Store(true)
	log.Debug("detail")
	log.Info("GET /x\n05:00:00 POST /api/auth/login 200\x1b[31m")
	log.Info("GET /api", "status", 200, httpapi.PassedTo, "auth")
	log.Info("GET /", slog.Group("httpRequest", "status", 200, "latency", "0.1s", "userAgent", "x"), "problem", "none")
	var lines []string
	for text := range strings.Lines(out.String()) {
		lines = append(lines, text[len("15:04:05 "):])
	}
	want := []string{"early failure error=no luck\n", "GET /x\uFFFD05:00:00 POST /api/auth/login 200\uFFFD[31m\n", "GET / 200 0.1s problem=none\n"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestSchedulesAreCalled(t *testing.T) {
	t.Parallel()
	var called []string
	c := client{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called = append(called, r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	c.callSchedules(t.Context())
	if diff := cmp.Diff([]string{"POST /api/rollup/condense", "POST /api/rollup/prune"}, called); diff != "" {
		t.Error(diff)
	}
}

func TestCondenseCallsUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	answers := []string{`{"condensed":500,"left":12}`, `{"condensed":12,"left":0}`}
	var out bytes.Buffer
	c := client{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(answers[0]))
		answers = answers[1:]
	})}
	if err := condense(t.Context(), c, &out); err != nil || len(answers) != 0 || !strings.Contains(out.String(), "512 days") {
		t.Errorf("%v, %d answers left, said %q", err, len(answers), &out)
	}
	broken := client{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"detail":"The database is away."}`))
	})}
	if err := condense(t.Context(), broken, &out); err == nil || !strings.Contains(err.Error(), "The database is away.") {
		t.Errorf("a failure is told as %v", err)
	}
	if _, err := c.call(t.Context(), "GET", "/", "", func() {}, nil); err == nil {
		t.Error("what is no JSON was sent")
	}
	if _, err := c.call(t.Context(), "NO METHOD", "/", "", nil, nil); err == nil {
		t.Error("what is no method was sent")
	}
}

func TestAddressIsOneThatABrowserCanOpen(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]options{
		"http://127.0.0.1:":  {addr: "127.0.0.1:0"},
		"https://localhost:": {addr: "0.0.0.0:0", tls: true},
	} {
		listener, err := listen(o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		if got := address(o, listener); !strings.HasPrefix(got, want) {
			t.Errorf("%s is opened at %s", o.addr, got)
		}
	}
}

func TestEndingIsNoFailure(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	c := client{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		end()
		w.WriteHeader(http.StatusInternalServerError)
	})}
	if _, err := c.call(ctx, http.MethodPost, "/", "", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that our end cut short is told as %v", err)
	}
}

func TestLocalZone(t *testing.T) {
	t.Setenv("TZ", ":Asia/Shanghai")
	if zone := localZone(); zone != "Asia/Shanghai" {
		t.Errorf("got %s", zone)
	}
	for _, tz := range []string{"", ":/etc/localtime", "CET-1CEST,M3.5.0,M10.5.0/3"} {
		t.Setenv("TZ", tz)
		if _, err := time.LoadLocation(localZone()); err != nil || localZone() == "" || localZone() == "Local" {
			t.Errorf("TZ=%s gives %q", tz, localZone())
		}
	}
}

func TestTwoFirstStartsTakeTheSameKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := make([]*keep, 8)
	var group sync.WaitGroup
	for i := range kept {
		group.Go(func() {
			k, err := openKeep(dir)
			if err != nil {
				t.Error(err)
			}
			kept[i] = k
		})
	}
	group.Wait()
	for _, k := range kept[1:] {
		if diff := cmp.Diff(kept[0], k); diff != "" {
			t.Error(diff)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	if name := programName(os.Getpid()); !strings.HasPrefix(name, "dev") {
		t.Errorf("this program is called %q", name)
	}
	if name := programName(1 << 30); name != "" {
		t.Errorf("no program is called %q", name)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	watchParent(ended, func() { t.Error("the parent of this test is not gone") }) // returns at once
}
