package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function/stage"
)

// cloud is a project with one service: what gcloud and Google's services would say and
// do. It refuses arguments and requests that it does not know.
type cloud struct {
	t    *testing.T
	time time.Time

	service   string
	revisions []string // the last is the latest
	traffic   shares
	pinned    bool // the traffic stays where it is when there is a later revision
	tag       string
	ingress   string
	commits   map[string]string // of each revision

	failures map[string]int64 // 5xx of each revision, once it has traffic
	answers  map[string]int   // of the candidate's paths, when not 200
	live     string           // what /live says, when not what it should

	refuses             string // the host that says no
	names               string // the revision that gcloud says it made, when another
	unready, emptyToken bool
	blind               func() bool // whether Cloud Monitoring shows nothing

	calls   []string // of all kinds, in order
	during  []string // what the traffic was at each
	gcloud  [][]string
	fate    func(n int, call string) fate // of each call
	meddle  func(n int, call string)      // what somebody else does before it
	visible []shares                      // each state that the traffic was in
	pending func()                        // what is late
}

// fate is how a call goes wrong.
type fate int

const (
	well       fate = iota
	lost            // it never arrives
	unanswered      // it does what it should, and nobody hears of it
	garbled         // it does what it should, and its answer is not one
	idle            // a change of the traffic is said to be made, and is not
	late            // a change of the traffic is answered with an error and made afterwards, unless there is another by then
)

var errLost = errors.New("dial tcp: network is unreachable")

func newCloud(t *testing.T) *cloud {
	return &cloud{
		t: t, time: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), service: "auth",
		revisions: []string{"auth-00001-abc"}, traffic: shares{"auth-00001-abc": 100}, ingress: "all",
		commits: map[string]string{}, failures: map[string]int64{}, answers: map[string]int{},
		fate: func(int, string) fate { return well }, meddle: func(int, string) {}, blind: func() bool { return false },
	}
}

func (c *cloud) world() world {
	return world{gcloud: c.command, transport: c, now: func() time.Time { return c.time }, wait: func(ctx context.Context, d time.Duration) error {
		c.time = c.time.Add(d)
		return ctx.Err()
	}}
}

var (
	commit = strings.Repeat("0123456789", 4)
	told   = []string{"-function=auth", "-project=acme-dash", "-region=europe-west1", "-commit=" + commit}
)

// release runs the command in this cloud.
func (c *cloud) release(args ...string) (code int, said string) {
	c.t.Helper()
	var out bytes.Buffer
	code = run(c.t.Context(), "../..", slices.Concat(told, args), c.world(), &out)
	c.arrives()
	return code, out.String()
}

// turns are the calls of a good release that are worth a failure: of those that are the
// same, while the traffic is the same, the first and the last.
func turns(t *testing.T) (good *cloud, all []int) {
	t.Helper()
	good = newCloud(t)
	if code, said := good.release(); code != 0 {
		t.Fatal(said)
	}
	first, last := map[string]int{}, map[string]int{}
	for n, call := range good.calls {
		what := call + " with " + good.during[n]
		if _, seen := first[what]; !seen {
			first[what] = n
		}
		last[what] = n
	}
	all = slices.Sorted(maps.Values(first))
	all = append(all, slices.Collect(maps.Values(last))...)
	slices.Sort(all)
	return good, slices.Compact(all)
}

// arrives does what is late.
func (c *cloud) arrives() {
	if late := c.pending; late != nil {
		c.pending = nil
		late()
	}
}

// releasing is a release that has come to watch the candidate, which cannot be asked,
// where Cloud Monitoring says what it is told to.
func (c *cloud) releasing(monitoring string) *release {
	w := c.world()
	w.transport = transport(func(request *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(monitoring)), Request: request}, nil
	})
	o, err := parsed(told, io.Discard)
	if err != nil {
		c.t.Fatal(err)
	}
	return &release{options: o, world: w, out: io.Discard, before: before, candidate: candidate}
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func (c *cloud) latest() string { return c.revisions[len(c.revisions)-1] }

func (c *cloud) move(to shares) {
	c.traffic = maps.Clone(to)
	c.visible = append(c.visible, c.traffic)
}

// begins notes the call and says what becomes of it.
func (c *cloud) begins(ctx context.Context, call string) (fate, error) {
	if err := ctx.Err(); err != nil {
		return lost, err
	}
	n := len(c.calls)
	c.calls = append(c.calls, call)
	c.during = append(c.during, c.traffic.String())
	c.meddle(n, call)
	if f := c.fate(n, call); f != lost {
		return f, nil
	}
	return lost, errLost
}

func (c *cloud) command(ctx context.Context, args ...string) (string, error) {
	c.gcloud = append(c.gcloud, args)
	line := strings.Join(args, " ")
	f, err := c.begins(ctx, "gcloud "+line)
	if err != nil {
		return "", err
	}
	if shifts := slices.Contains(args, "update-traffic"); shifts {
		c.pending = nil // it was made of a state that is no more
		if f == idle {
			return "", nil
		}
		if f == late {
			c.pending = func() { _, _ = c.obey(args) }
		}
	}
	if f == late {
		return "", errLost
	}
	text, err := c.obey(args)
	switch f {
	case unanswered:
		return "", errLost
	case garbled:
		return "WARNING: garbled\nsomething", nil
	}
	return text, err
}

// obey does what gcloud would.
func (c *cloud) obey(args []string) (string, error) {
	flags := map[string]string{}
	var words []string
	for _, arg := range args {
		if name, value, is := strings.Cut(arg, "="); is && strings.HasPrefix(name, "--") || strings.HasPrefix(arg, "--") {
			flags[name] = value
			continue
		}
		words = append(words, arg)
	}
	takes := func(names ...string) {
		c.t.Helper()
		if got := slices.Sorted(maps.Keys(flags)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
			c.t.Errorf("gcloud %q is given %q", words, got)
		}
		if flags["--project"] != "acme-dash" && words[0] != "auth" || words[0] == "run" && flags["--region"] != "europe-west1" {
			c.t.Errorf("gcloud %q is told of %q", words, flags)
		}
	}
	switch verb := strings.Join(words, " "); verb {
	case "auth print-access-token":
		takes("--quiet")
		return "access-token", nil
	case "run services describe " + c.service:
		takes("--project", "--region", "--format")
		return c.described(), nil
	case "run services update-traffic " + c.service:
		if _, latest := flags["--to-latest"]; latest {
			takes("--project", "--region", "--to-latest", "--quiet")
			c.pinned = false
			c.move(shares{c.latest(): 100})
			return "", nil
		}
		if tags, is := flags["--update-tags"]; is {
			takes("--project", "--region", "--update-tags", "--quiet")
			name, is := strings.CutPrefix(tags, "candidate=")
			if !is || !slices.Contains(c.revisions, name) {
				return "", fmt.Errorf("ERROR: there is no %s", tags)
			}
			c.tag = name
			return "", nil
		}
		takes("--project", "--region", "--to-revisions", "--quiet")
		to := shares{}
		sum := int64(0)
		for _, share := range strings.Split(flags["--to-revisions"], ",") {
			name, percent, _ := strings.Cut(share, "=")
			if _, err := fmt.Sscan(percent, new(int64)); err != nil || !slices.Contains(c.revisions, name) {
				return "", fmt.Errorf("ERROR: there is no %s", share)
			}
			var n int64
			_, _ = fmt.Sscan(percent, &n)
			to[name], sum = n, sum+n
		}
		if sum != 100 {
			return "", fmt.Errorf("ERROR: %d %% is not all of it", sum)
		}
		c.pinned = true
		c.move(to)
		return "", nil
	case "run deploy " + c.service:
		takes("--project", "--region", "--source", "--function", "--base-image", "--automatic-updates", "--build-service-account",
			"--set-build-env-vars", "--no-traffic", "--format", "--quiet")
		c.pinned = true
		if !strings.HasSuffix(flags["--set-build-env-vars"], ";GOFLAGS=-tags="+stage.Tags) {
			c.t.Errorf("it is compiled with %s", flags["--set-build-env-vars"])
		}
		name := c.deployed(regexp.MustCompile(`function\.release=([0-9a-f]*);`).FindStringSubmatch(flags["--set-build-env-vars"])[1])
		return cmp.Or(c.names, name), nil
	default:
		c.t.Errorf("nobody knows gcloud %q", args)
		return "", errors.New("ERROR: unrecognized arguments")
	}
}

// deployed makes a revision, which gets the traffic that goes to the latest.
func (c *cloud) deployed(commit string) string {
	name := fmt.Sprintf("auth-%05d-xyz", len(c.revisions)+1)
	c.revisions = append(c.revisions, name)
	c.commits[name] = commit
	if !c.pinned {
		c.move(shares{name: 100})
	}
	return name
}

func (c *cloud) described() string {
	type m = map[string]any
	var traffic []m
	for _, name := range slices.Sorted(maps.Keys(c.traffic)) {
		traffic = append(traffic, m{"revisionName": name, "percent": c.traffic[name], "latestRevision": !c.pinned})
	}
	if c.tag != "" {
		traffic = append(traffic, m{"revisionName": c.tag, "tag": tag, "url": "https://candidate---auth.run.app"})
	}
	ready := c.latest()
	if c.unready {
		ready = c.revisions[0]
	}
	text, _ := json.Marshal(m{
		"metadata": m{"name": c.service, "generation": 7, "annotations": m{"run.googleapis.com/ingress": c.ingress}},
		"status": m{"observedGeneration": 7, "url": "https://auth.run.app", "traffic": traffic,
			"latestCreatedRevisionName": c.latest(), "latestReadyRevisionName": ready},
	})
	return string(text)
}

// RoundTrip answers as the candidate and as Google's services.
func (c *cloud) RoundTrip(request *http.Request) (*http.Response, error) {
	call := request.Method + " " + request.URL.Host + request.URL.Path
	f, err := c.begins(request.Context(), call)
	if err != nil {
		return nil, err
	}
	if f == late {
		return nil, errLost
	}
	status, text := 401, "{}"
	if request.URL.Host == c.refuses {
		status, text = 403, `{"error":{"code":403,"message":"denied"}}`
	} else if google := strings.HasSuffix(request.URL.Host, ".googleapis.com"); !google || request.Header.Get("Authorization") == "Bearer access-token" {
		status, text = c.reply(request)
	}
	switch f {
	case unanswered:
		return nil, errLost
	case garbled:
		status, text = 200, "<html>garbled"
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)), Request: request}, nil
}

func (c *cloud) reply(request *http.Request) (int, string) {
	switch request.URL.Host {
	case "candidate---auth.run.app":
		if request.Header.Get("X-Serverless-Authorization") != "Bearer id-token" || request.Header.Get("Authorization") != "" {
			c.t.Errorf("the candidate is asked with %v", request.Header)
		}
		if status := c.answers[request.URL.Path]; status != 0 {
			return status, "{}"
		}
		if request.URL.Path == "/live" {
			if c.live != "" {
				return 200, c.live
			}
			return 200, fmt.Sprintf(`{"functions":["auth"],"release":%q}`, c.commits[c.tag])
		}
		return 200, "{}"
	case "iamcredentials.googleapis.com":
		var body map[string]any
		text, _ := io.ReadAll(request.Body)
		if err := json.Unmarshal(text, &body); err != nil || body["audience"] != "https://auth.run.app" ||
			request.URL.Path != "/v1/projects/-/serviceAccounts/deploy-auth@acme-dash.iam.gserviceaccount.com:generateIdToken" {
			c.t.Errorf("%s is asked for %s", request.URL, text)
		}
		if c.emptyToken {
			return 200, "{}"
		}
		return 200, `{"token":"id-token"}`
	case "monitoring.googleapis.com":
		return 200, c.count(request.URL.Query())
	}
	c.t.Errorf("nobody knows %s", request.URL)
	return 404, ""
}

// count is what Cloud Monitoring shows of the candidate: ten good requests on each of
// two pages, and those that failed.
func (c *cloud) count(query url.Values) string {
	named := regexp.MustCompile(`^metric\.type = "run\.googleapis\.com/request_count" AND resource\.type = "cloud_run_revision" AND resource\.labels\.location = "europe-west1" AND resource\.labels\.service_name = "auth" AND resource\.labels\.revision_name = "([^"]+)"$`).FindStringSubmatch(query.Get("filter"))
	start, err1 := time.Parse(time.RFC3339, query.Get("interval.startTime"))
	end, err2 := time.Parse(time.RFC3339, query.Get("interval.endTime"))
	if named == nil || err1 != nil || err2 != nil || start.After(end) {
		c.t.Errorf("Cloud Monitoring is asked for %q", query)
		return "{}"
	}
	series := func(class string, n int64) string {
		return fmt.Sprintf(`{"metric":{"labels":{"response_code_class":%q}},"points":[{"value":{"int64Value":"%d"}}]}`, class, n)
	}
	if c.traffic[named[1]] == 0 || c.blind() {
		return "{}"
	}
	if query.Get("pageToken") == "" {
		return `{"nextPageToken":"2","timeSeries":[` + series("2xx", 10) + `]}`
	}
	return `{"timeSeries":[` + series("4xx", 10) + "," + series("5xx", c.failures[named[1]]) + `]}`
}
