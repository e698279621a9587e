package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	before    = "auth-00001-abc"
	candidate = "auth-00002-xyz"
)

func TestAGoodRevisionGetsMoreAndMore(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	began := c.time
	code, said := c.release()
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	want := []shares{{before: 90, candidate: 10}, {before: 50, candidate: 50}, {candidate: 100}}
	if diff := cmp.Diff(want, c.visible); diff != "" {
		t.Errorf("the traffic went another way: %s", diff)
	}
	if c.pinned {
		t.Error("the next revision that Terraform makes gets no traffic")
	}
	if took := c.time.Sub(began); took < 15*time.Minute || took > 16*time.Minute {
		t.Errorf("it was watched for %s", took)
	}
	wantSaid := `auth: auth-00002-xyz is built, gets no traffic, and is to replace auth-00001-abc
auth: auth-00002-xyz answers as commit 0123456, and N of its routes do
auth: auth-00002-xyz gets 10 % of the traffic
auth: auth-00002-xyz answered 20 requests by now, 0 with 5xx
auth: auth-00002-xyz gets 50 % of the traffic
auth: auth-00002-xyz answered 20 requests by now, 0 with 5xx
auth: auth-00002-xyz gets 100 % of the traffic
auth: auth-00002-xyz answered 20 requests by now, 0 with 5xx
auth: auth-00002-xyz serves, and the next release begins from it
`
	said = regexp.MustCompile(`\b\d+ of its routes`).ReplaceAllString(said, "N of its routes")
	if diff := cmp.Diff(wantSaid, said); diff != "" {
		t.Error(diff)
	}
	deploy := strings.Join(c.gcloud[1], " ")
	for _, part := range []string{"run deploy auth ", "--source=dist/auth ", "--function=Auth ", "--base-image=go126 ", "--automatic-updates ", "--no-traffic ", "serviceAccounts/builder@acme-dash.iam", "=-s -w -X ", commit + ";GOOGLE_CLEAR_SOURCE=true"} {
		if !strings.Contains(deploy, part) {
			t.Errorf("it is deployed without %s: %s", part, deploy)
		}
	}
	// What is open to all is asked: those that want a caller too, none with a parameter.
	asked := c.asked()
	for _, path := range []string{"/live", "/.well-known/jwks.json", "/api/auth/me", "/api/auth/sessions"} {
		if !slices.Contains(asked, path) {
			t.Errorf("nobody asked for %s, but for %q", path, asked)
		}
	}

	// And the next begins where this one ended.
	if code, said := c.release(); code != 0 || !maps.Equal(c.traffic, shares{"auth-00003-xyz": 100}) {
		t.Errorf("the next one ends with %d, and the traffic at %s: %s", code, c.traffic, said)
	}
}

// asked lists the paths that the candidate was asked for.
func (c *cloud) asked() []string {
	var all []string
	for _, call := range c.calls {
		if path, is := strings.CutPrefix(call, "GET candidate---auth.run.app"); is {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestABadRevisionIsRolledBack breaks the new revision in one way at a time.
func TestABadRevisionIsRolledBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks  func(*cloud)
		reaches int64 // the largest share that it got
		says    string
	}{
		"does not start":         {func(c *cloud) { c.answers["/live"] = 503 }, 0, "GET /live is answered 503"},
		"cannot be asked":        {func(c *cloud) { c.answers["/live"] = 403 }, 0, "GET /live is answered 403"},
		"is another commit":      {func(c *cloud) { c.live = `{"functions":["auth"],"release":"0123abc"}` }, 0, "which is not auth of commit 0123"},
		"is another function":    {func(c *cloud) { c.live = `{"functions":["web"],"release":"` + commit + `"}` }, 0, "which is not auth"},
		"is a page of Google's":  {func(c *cloud) { c.live = "<html>" }, 0, "which is not auth"},
		"has a route that fails": {func(c *cloud) { c.answers["/api/auth/me"] = 500 }, 0, "GET /api/auth/me is answered 500"},
		"fails from the first":   {func(c *cloud) { c.failures[candidate] = 3 }, 10, "it answered 3 of 23 requests with 5xx"},
		"fails at half": {func(c *cloud) {
			c.meddle = func(int, string) {
				if c.traffic[candidate] == 50 {
					c.failures[candidate] = 9
				}
			}
		}, 50, "it answered 9 of 29"},
		"fails with all": {func(c *cloud) {
			c.meddle = func(int, string) {
				if c.traffic[candidate] == 100 {
					c.failures[candidate] = 9
				}
			}
		}, 100, "it answered 9 of 29"},
		"dies at the end": {func(c *cloud) {
			c.meddle = func(int, string) {
				if c.traffic[candidate] == 100 {
					c.answers["/live"] = 500
				}
			}
		}, 100, "GET /live is answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t)
			test.breaks(c)
			code, said := c.release()
			if code != 1 || !maps.Equal(c.traffic, shares{before: 100}) {
				t.Errorf("exit code %d, the traffic at %s: %s", code, c.traffic, said)
			}
			reached := int64(0)
			for _, s := range c.visible {
				reached = max(reached, s[candidate])
			}
			if reached != test.reaches {
				t.Errorf("it got %d %%, want %d", reached, test.reaches)
			}
			end := "auth: rolled back: auth-00001-abc gets all of the traffic\n"
			if reached == 0 {
				end = "auth: auth-00001-abc serves as before\n"
			}
			if !strings.Contains(said, test.says) || !strings.HasSuffix(said, end) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

func TestAFewErrorsAreNoReason(t *testing.T) {
	t.Parallel()
	for failed, code := range map[int64]int{2: 0, 3: 1} {
		c := newCloud(t)
		c.failures[candidate] = failed
		if got, said := c.release(); got != code {
			t.Errorf("with %d of 23: exit code %d: %s", failed, got, said)
		}
	}
	// 5 % of what came, neither more nor less.
	c := newCloud(t)
	for _, test := range []struct {
		requests, failed int64
		bad              bool
	}{{60, 3, true}, {61, 3, false}, {3, 3, true}, {2, 2, false}, {0, 0, false}, {2000, 99, false}, {2000, 100, true}} {
		r := c.releasing(fmt.Sprintf(`{"timeSeries":[{"metric":{"labels":{"response_code_class":"2xx"}},"points":[{"value":{"int64Value":"%d"}}]},{"metric":{"labels":{"response_code_class":"5xx"}},"points":[{"value":{"int64Value":"%d"}}]}]}`, test.requests-test.failed, test.failed))
		if err := r.observe(t.Context()); (err != nil) != test.bad {
			t.Errorf("%d of %d: %v", test.failed, test.requests, err)
		}
	}
}

func TestWhatCannotBeCountedIsNotPromoted(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, text := range []string{`{"timeSeries":[{"metric":{},"points":[{"value":{"doubleValue":1}}]}]}`, `{"timeSeries":[{"metric":{},"points":[{}]}]}`, `{"timeSeries":[{"points":[{"value":{"int64Value":"1"}}]}]}`, `[]`} {
		if err := c.releasing(text).observe(t.Context()); err == nil {
			t.Errorf("%s is fine", text)
		}
	}
}

// TestMonitoringThatShowsNothingProvesNothing has Cloud Monitoring answer, and know of
// no request: it may be late, but not for good.
func TestMonitoringThatShowsNothingProvesNothing(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.blind = func() bool { return true }
	began := c.time
	code, said := c.release()
	if code != 1 || !maps.Equal(c.traffic, shares{before: 100}) || !strings.Contains(said, "none of our own requests to it shows in Cloud Monitoring") || len(c.visible) != 2 {
		t.Errorf("exit code %d, the traffic was %v: %s", code, c.visible, said)
	}
	if took := c.time.Sub(began); took < 9*time.Minute || took > 10*time.Minute {
		t.Errorf("it was waited for %s", took)
	}
	c = newCloud(t)
	late := c.time.Add(8 * time.Minute)
	c.blind = func() bool { return c.time.Before(late) }
	if code, said := c.release(); code != 0 {
		t.Errorf("late: exit code %d: %s", code, said)
	}
	// Where it cannot be asked there may have been none.
	c = newCloud(t)
	c.blind, c.ingress = func() bool { return true }, "internal"
	if code, said := c.release(); code != 0 {
		t.Errorf("behind the load balancer: exit code %d: %s", code, said)
	}
}

// TestAReleaseHasAnEnd has Cloud Run take its time at each step in turn: the pipeline
// would end the job, and nobody would go back.
func TestAReleaseHasAnEnd(t *testing.T) {
	t.Parallel()
	for _, at := range []shares{{before: 100}, {before: 90, candidate: 10}, {before: 50, candidate: 50}, {candidate: 100}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t)
			c.fate = func(_ int, call string) fate {
				if slices.Contains(c.revisions, candidate) && maps.Equal(c.traffic, at) && strings.Contains(call, "describe") {
					c.fate = func(int, string) fate { return well }
					time.Sleep(45*time.Minute + time.Nanosecond)
				}
				return well
			}
			code, said := c.release()
			if code != 1 || !maps.Equal(c.traffic, shares{before: 100}) || !strings.Contains(said, "is not good enough: it took longer than 45m0s: ") {
				t.Errorf("%s: exit code %d, the traffic at %s: %s", at, code, c.traffic, said)
			}
		})
	}
}

// TestTwoReleasesAtOnce has another release run from its beginning to its end before
// each call of one. In the end one revision serves, and none whose release failed.
func TestTwoReleasesAtOnce(t *testing.T) {
	t.Parallel()
	good, turns := turns(t)
	other := strings.Repeat("9876543210", 4)
	for _, n := range turns {
		c := newCloud(t)
		second, theirs := -1, ""
		c.meddle = func(at int, _ string) {
			if at != n {
				return
			}
			c.meddle = func(int, string) {}
			var out strings.Builder
			second = run(t.Context(), "../..", slices.Concat(told, []string{"-commit=" + other}), c.world(), &out)
			theirs = out.String()
		}
		first, said := c.release()
		serves := slices.Collect(maps.Keys(c.traffic))
		if second != 0 {
			t.Errorf("at %d, %s: the second ends with %d: %s", n, good.calls[n], second, theirs)
		}
		switch {
		case len(serves) != 1:
			t.Errorf("at %d, %s: the traffic is left at %s: %s%s", n, good.calls[n], c.traffic, said, theirs)
		case first == 0 && serves[0] == before:
			t.Errorf("at %d, %s: both are said to serve, and neither does: %s%s", n, good.calls[n], said, theirs)
		case first == 1 && c.commits[serves[0]] == commit:
			t.Errorf("at %d, %s: what failed serves: %s%s", n, good.calls[n], said, theirs)
		}
	}
}

// TestBehindTheLoadBalancer is where the candidate cannot be asked: it is neither
// passed over in silence nor watched less.
func TestBehindTheLoadBalancer(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.ingress = "internal-and-cloud-load-balancing"
	code, said := c.release()
	if code != 0 || !strings.Contains(said, "behind the load balancer auth-00002-xyz cannot be asked") || len(c.asked()) > 0 {
		t.Errorf("exit code %d: %s, asked for %q", code, said, c.asked())
	}
	c = newCloud(t)
	c.ingress = "internal"
	c.failures[candidate] = 3
	if code, said := c.release(); code != 1 || !maps.Equal(c.traffic, shares{before: 100}) {
		t.Errorf("exit code %d, the traffic at %s: %s", code, c.traffic, said)
	}
}

// cutOff leaves the cloud as a release does that ends at half.
func (c *cloud) cutOff() {
	c.pinned = true
	c.tag = c.deployed(commit)
	c.traffic = shares{before: 50, candidate: 50}
}

func TestACutOffReleaseIsTakenBackFirst(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.cutOff()
	code, said := c.release()
	want := []shares{{before: 100}, {before: 90, "auth-00003-xyz": 10}, {before: 50, "auth-00003-xyz": 50}, {"auth-00003-xyz": 100}}
	if diff := cmp.Diff(want, c.visible); code != 0 || diff != "" {
		t.Errorf("exit code %d: %s%s", code, said, diff)
	}
	if !strings.HasPrefix(said, "auth: a release was cut off when auth-00002-xyz had 50 % of the traffic\nauth: rolled back: auth-00001-abc gets all of the traffic\n") {
		t.Errorf("it says %s", said)
	}

	// The same where the candidate's name comes first.
	c = newCloud(t)
	c.revisions, c.tag, c.pinned = []string{"z", "a"}, "a", true
	c.traffic = shares{"z": 90, "a": 10}
	if code, said := c.release(); code != 0 || !maps.Equal(c.visible[0], shares{"z": 100}) {
		t.Errorf("exit code %d: %s", code, said)
	}
	// It is not deployed anew where that fails.
	c = newCloud(t)
	c.cutOff()
	c.fate = func(_ int, call string) fate {
		if strings.Contains(call, "update-traffic") {
			return lost
		}
		return well
	}
	if code, said := c.release(); code != 1 || len(c.revisions) != 2 || !strings.Contains(said, "ROLL-BACK FAILED") || !strings.Contains(said, "not deployed") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

func TestWhatNoReleaseLeftBehindIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		traffic shares
		tag     string
		says    string
	}{
		"by hand":       {shares{before: 70, candidate: 30}, "", "auth: not deployed: the traffic is shared as auth-00001-abc=70,auth-00002-xyz=30"},
		"another's tag": {shares{before: 70, candidate: 30}, "auth-00003-xyz", "the traffic is shared as"},
		"three":         {shares{before: 40, candidate: 30, "auth-00003-xyz": 30}, candidate, "the traffic is shared as"},
		"none":          {shares{}, "", "no revision serves: apply Terraform first"},
	} {
		c := newCloud(t)
		c.deployed(commit)
		c.traffic, c.tag, c.visible = test.traffic, test.tag, nil
		calls := 1
		code, said := c.release()
		if code != 1 || !strings.Contains(said, test.says) || len(c.calls) != calls {
			t.Errorf("%s: exit code %d after %q: %s", name, code, c.calls, said)
		}
	}
}

// TestSomebodyElseIsNoticed has somebody meddle before each call in turn.
func TestSomebodyElseIsNoticed(t *testing.T) {
	t.Parallel()
	good, turns := turns(t)
	lastLook := 0
	for n, call := range good.calls {
		if strings.HasPrefix(call, "gcloud run services describe") {
			lastLook = n
		}
	}
	const theirs = "auth-00003-xyz"
	for _, n := range turns {
		if n >= lastLook {
			break
		}
		shifts := strings.Contains(good.calls[n], "update-traffic")
		for how, meddle := range map[string]func(*cloud){
			"deploys":                   func(c *cloud) { c.tag = c.deployed("abc") },
			"deploys and keeps the tag": func(c *cloud) { c.deployed("abc") },
			"takes the traffic": func(c *cloud) {
				c.revisions = append(c.revisions[:len(c.revisions)-1:len(c.revisions)-1], theirs, c.latest())
				c.pinned = true
				c.move(shares{theirs: 100})
			},
		} {
			c := newCloud(t)
			c.meddle = func(at int, _ string) {
				if at == n && slices.Contains(c.revisions, candidate) {
					meddle(c)
				}
			}
			code, said := c.release()
			// Before there was anything to meddle with; or between a last look and what
			// follows it, which gcloud cannot tie together.
			if len(c.revisions) < 3 || shifts && how == "takes the traffic" {
				continue
			}
			if code != 1 {
				t.Errorf("%s at %d: exit code %d: %s", how, n, code, said)
			}
			if how != "takes the traffic" && !shifts && slices.ContainsFunc(c.visible, func(s shares) bool { return s[theirs] > 0 }) {
				t.Errorf("%s at %d: the traffic went to what nobody asked: %v", how, n, c.visible)
			}
			switch kept := c.traffic[theirs] == 100; {
			case how == "takes the traffic" && !kept && !strings.Contains(said, "rolled back"):
				t.Errorf("%s at %d: the traffic is %s: %s", how, n, c.traffic, said)
			case how != "takes the traffic" && !maps.Equal(c.traffic, shares{before: 100}):
				t.Errorf("%s at %d: the traffic is %s: %s", how, n, c.traffic, said)
			}
		}
	}
}

// TestNoFailureIsPromoted makes each call in turn go wrong in each way, once and for
// good. One that passes may be made good; one that stays must end with the traffic
// where it was, or with the command that brings it back. And the next release, in a
// world that works again, always arrives.
func TestNoFailureIsPromoted(t *testing.T) {
	t.Parallel()
	good, turns := turns(t)
	for name, f := range map[string]fate{"lost": lost, "unanswered": unanswered, "garbled": garbled, "late": late, "idle": idle} {
		for _, stays := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, for good %v", name, stays), func(t *testing.T) {
				t.Parallel()
				for _, n := range turns {
					c := newCloud(t)
					c.fate = func(at int, _ string) fate {
						if at == n || stays && at > n {
							return f
						}
						return well
					}
					code, said := c.release()
					if code == 0 && stays && f != idle {
						t.Errorf("call %d, %s: it was promoted without being seen: %s", n, good.calls[n], said)
					}
					c.holds(fmt.Sprintf("call %d, %s", n, good.calls[n]), code, said, stays)
				}
			})
		}
	}
}

// holds checks what must be so however a release ended.
func (c *cloud) holds(when string, code int, said string, away bool) {
	c.t.Helper()
	share := c.traffic[c.tag]
	if c.tag == "" || c.traffic[before] == 100 {
		share = 0
	}
	switch {
	case code == 0 && (share != 100 || c.pinned):
		c.t.Errorf("%s: it claims to serve, with the traffic at %s: %s", when, c.traffic, said)
	case code != 0 && share != 0 && !(away && strings.Contains(said, "Run this by hand, now: gcloud run services update-traffic auth --project=acme-dash --region=europe-west1 --to-revisions=auth-00001-abc=100 --quiet\n")):
		c.t.Errorf("%s: it failed and left the traffic at %s: %s", when, c.traffic, said)
	}
	proven := slices.IndexFunc(c.calls, func(call string) bool { return strings.Contains(call, "/live") })
	moved := slices.IndexFunc(c.calls, func(call string) bool {
		return strings.Contains(call, " --to-") && !strings.Contains(call, before+"=100")
	})
	if moved >= 0 && (proven < 0 || moved < proven) {
		c.t.Errorf("%s: it got traffic before it was asked: %q", when, c.calls)
	}
	c.fate, c.meddle, c.failures, c.answers, c.live = func(int, string) fate { return well }, func(int, string) {}, map[string]int64{}, map[string]int{}, ""
	if code, said := c.release(); code != 0 || c.traffic[c.latest()] != 100 {
		c.t.Errorf("%s: and the next one ends with %d, the traffic at %s: %s", when, code, c.traffic, said)
	}
}

// TestReleasesKeepTheirPromise draws worlds in which anything fails at any time.
func TestReleasesKeepTheirPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := newCloud(t)
		away := false
		odds := rapid.IntRange(1, 60).Draw(rt, "one in")
		source := rapid.Custom(func(t *rapid.T) fate {
			if rapid.IntRange(1, odds).Draw(t, "goes wrong") > 1 {
				return well
			}
			return rapid.SampledFrom([]fate{lost, unanswered, garbled, late, idle}).Draw(t, "how")
		})
		c.fate = func(int, string) fate { return source.Draw(rt, "fate") }
		c.failures[candidate] = rapid.SampledFrom([]int64{0, 0, 2, 3, 50}).Draw(rt, "failures")
		code, said := c.release()
		away = strings.Contains(said, "ROLL-BACK FAILED")
		if code == 0 && c.failures[candidate] > 2 {
			rt.Errorf("it failed and was promoted: %s", said)
		}
		c.holds(fmt.Sprint(c.calls), code, said, away && code != 0)
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// TestAStoppedReleaseRollsBack tells the release to stop before each call in turn.
func TestAStoppedReleaseRollsBack(t *testing.T) {
	t.Parallel()
	good, turns := turns(t)
	for _, n := range turns {
		ctx, stop := context.WithCancel(t.Context())
		c := newCloud(t)
		c.meddle = func(at int, _ string) {
			if at == n {
				stop()
			}
		}
		var out strings.Builder
		code := run(ctx, "../..", told, c.world(), &out)
		stop()
		if n < len(good.calls)-1 && code != 1 || !maps.Equal(c.traffic, shares{before: 100}) && code != 0 {
			t.Errorf("stopped at %d, %s: exit code %d, the traffic at %s: %s", n, good.calls[n], code, c.traffic, out.String())
		}
	}
}
