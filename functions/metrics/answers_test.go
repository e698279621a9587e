package metrics_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

func TestDeploymentFrequency(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	for _, day := range []struct {
		day              string
		deployed, failed int
	}{
		{"2026-02-08", 50, 50}, // before the range
		{"2026-02-09", 2, 1},
		{"2026-02-15", 1, 0},
		{"2026-02-18", 0, 4},
		{"2026-02-23", 1, 0},
		{"2026-03-04", 3, 0},
		{"2026-03-05", 50, 50}, // after it
	} {
		w.rollup(day.day, day.deployed, day.failed, 0)
	}
	path := fmt.Sprintf("/api/metrics/deployment-frequency?service=%s&from=2026-02-09&to=2026-03-04", w.service)
	total := metrics.FrequencyTotal{Deployments: 7, Failed: 5, Days: 24, PerDay: 7.0 / 24, DaysWithDeployments: 4, MedianDaysPerWeek: ptr(1.0)}
	header := metrics.Series{Service: w.service, Environment: "production", TimeZone: "UTC", From: "2026-02-09", To: "2026-03-04", Bucket: "week"}
	bucket := func(start, end string, complete bool, deployed, failed int) metrics.FrequencyBucket {
		return metrics.FrequencyBucket{Period: metrics.Period{Start: start, End: end, Complete: complete}, Deployments: deployed, Failed: failed}
	}
	same(t, metrics.DeploymentFrequency{Series: header, Total: total, Buckets: []metrics.FrequencyBucket{
		bucket("2026-02-09", "2026-02-15", true, 3, 1),
		bucket("2026-02-16", "2026-02-22", true, 0, 4),
		bucket("2026-02-23", "2026-03-01", true, 1, 0),
		bucket("2026-03-02", "2026-03-04", false, 3, 0),
	}}, get[metrics.DeploymentFrequency](t, w, "%s", path))

	header.Bucket = "month"
	same(t, metrics.DeploymentFrequency{Series: header, Total: total, Buckets: []metrics.FrequencyBucket{
		bucket("2026-02-09", "2026-02-28", false, 4, 5),
		bucket("2026-03-01", "2026-03-04", false, 3, 0),
	}}, get[metrics.DeploymentFrequency](t, w, "%s", path+"&bucket=month"))

	days := get[metrics.DeploymentFrequency](t, w, "%s", path+"&bucket=day")
	same(t, total, days.Total)
	same(t, 24, len(days.Buckets))
	same(t, bucket("2026-02-15", "2026-02-15", true, 1, 0), days.Buckets[6])
	same(t, bucket("2026-03-04", "2026-03-04", false, 3, 0), days.Buckets[23])
}

func TestTheMedianWeek(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	for _, day := range []string{"2026-02-09", "2026-02-10", "2026-02-11", "2026-02-24"} {
		w.rollup(day, 1, 0, 0)
	}
	for span, want := range map[string]*float64{
		"from=2026-02-09&to=2026-02-22": ptr(1.5), // of 3 and 0
		"from=2026-02-09&to=2026-03-01": ptr(1.0), // of 3, 0 and 1
		"from=2026-02-10&to=2026-02-15": nil,
		"from=2026-03-02&to=2026-03-08": nil, // not over yet
	} {
		got := get[metrics.DeploymentFrequency](t, w, "/api/metrics/deployment-frequency?service=%s&%s", w.service, span)
		same(t, want, got.Total.MedianDaysPerWeek)
	}
}

// One of our own with the figures of a public test set: nine changes, two of them
// authored after they were deployed.
func TestChangeLeadTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.rollup("2026-02-10", 1, 0, 1, 86_400, 268_647, 300_000)
	w.rollup("2026-02-12", 1, 0, 1, 60, 268_000, 400_000, 500_000)
	w.rollup("2026-02-20", 1, 0, 3)
	w.rollup("2026-03-05", 1, 0, 0, 1)
	path := fmt.Sprintf("/api/metrics/change-lead-time?service=%s&from=2026-02-09&to=2026-02-28", w.service)
	got := get[metrics.ChangeLeadTime](t, w, "%s", path)
	none := metrics.LeadTime{Exact: true}
	week := metrics.LeadTime{N: 7, Exact: true, Excluded: 2, P50: ptr(268_647.0), P75: ptr(350_000.0), P90: ptr(440_000.0), P95: ptr(470_000.0)}
	all := week
	all.Excluded = 5
	bucket := func(start, end string, complete bool, lead metrics.LeadTime) metrics.LeadTimeBucket {
		return metrics.LeadTimeBucket{Period: metrics.Period{Start: start, End: end, Complete: complete}, LeadTime: lead}
	}
	onlyExcluded := none
	onlyExcluded.Excluded = 3
	same(t, metrics.ChangeLeadTime{
		Series: metrics.Series{Service: w.service, Environment: "production", TimeZone: "UTC", From: "2026-02-09", To: "2026-02-28", Bucket: "week"},
		Unit:   "seconds", Total: all,
		Buckets: []metrics.LeadTimeBucket{
			bucket("2026-02-09", "2026-02-15", true, week),
			bucket("2026-02-16", "2026-02-22", true, onlyExcluded),
			bucket("2026-02-23", "2026-02-28", false, none),
		},
	}, got)
}

// However a history is cut into days and buckets, figures are percentile_cont over
// the samples, and of a sketch within its accuracy.
func TestLeadTimesAreThoseOfTheSamples(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	rapid.Check(t, func(r *rapid.T) {
		w.exec("DELETE FROM rollup_samples")
		exact := true
		start := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
		type sampled struct {
			day   time.Time
			leads []int32
		}
		var history []sampled
		for n := range rapid.IntRange(0, 12).Draw(r, "days") {
			day := start.AddDate(0, 0, n*7+rapid.IntRange(0, 6).Draw(r, "weekday"))
			leads := rapid.SliceOfN(rapid.Int32Range(0, math.MaxInt32), 0, 20).Draw(r, "leads")
			history = append(history, sampled{day, leads})
			if rapid.IntRange(0, 20).Draw(r, "sketched") == 20 {
				exact = false
				w.exec("INSERT INTO rollup_samples VALUES ($1, 'change_lead_time', $2, $3, 0, NULL, $4)", w.env, day, len(leads), sample.Sketch(leads))
			} else {
				w.exec("INSERT INTO rollup_samples VALUES ($1, 'change_lead_time', $2, $3, 0, $4)", w.env, day, len(leads), leads)
			}
		}
		unit := rapid.SampledFrom([]string{"day", "week", "month"}).Draw(r, "bucket")
		got := get[metrics.ChangeLeadTime](t, w, "/api/metrics/change-lead-time?service=%s&from=2026-01-01&to=2026-04-01&bucket=%s", w.service, unit)
		if got.Total.Exact != exact {
			r.Errorf("exact=%v, want %v", got.Total.Exact, exact)
		}
		check := func(from, to string, lead metrics.LeadTime) {
			var all []int32
			for _, s := range history {
				if d := s.day.Format(time.DateOnly); d >= from && d <= to {
					all = append(all, s.leads...)
				}
			}
			if lead.N != len(all) {
				r.Fatalf("%s..%s: n=%d, want %d", from, to, lead.N, len(all))
			}
			var want []*float64
			err := w.pool.QueryRow(t.Context(), "SELECT ARRAY[percentile_cont(.5) WITHIN GROUP (ORDER BY s), percentile_cont(.75) WITHIN GROUP (ORDER BY s), percentile_cont(.9) WITHIN GROUP (ORDER BY s), percentile_cont(.95) WITHIN GROUP (ORDER BY s)] FROM unnest($1::int[]) s", all).Scan(&want)
			if err != nil {
				r.Fatal(err)
			}
			within := 1e-9
			if !lead.Exact {
				within += sample.Accuracy
			}
			for i, p := range []*float64{lead.P50, lead.P75, lead.P90, lead.P95} {
				if (p == nil) != (want[i] == nil) || p != nil && math.Abs(*p-*want[i]) > within*(*want[i]) {
					r.Errorf("%s..%s: figure %d is %v, want %v", from, to, i, p, want[i])
				}
			}
		}
		check("2026-01-01", "2026-04-01", got.Total)
		for _, bucket := range got.Buckets {
			check(bucket.Start, bucket.End, bucket.LeadTime)
		}
	})
}

func TestCommitActivity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "Asia/Shanghai")
	for day, n := range map[string]int{"2026-02-28": 100, "2026-03-01": 4, "2026-03-03": 7, "2026-03-05": 1, "2026-03-06": 100} {
		w.exec("INSERT INTO rollup_commits VALUES ($1, $2, $3)", w.repository, day, n)
	}
	// To is today, where the team is.
	same(t, metrics.CommitActivity{
		Service: w.service, TimeZone: "Asia/Shanghai", From: "2026-03-01", To: "2026-03-05", Total: 12,
		Days: []metrics.CommitDay{{Day: "2026-03-01", Commits: 4}, {Day: "2026-03-03", Commits: 7}, {Day: "2026-03-05", Commits: 1}},
	}, get[metrics.CommitActivity](t, w, "/api/metrics/commits?service=%s&from=2026-03-01", w.service))
	quiet := get[metrics.CommitActivity](t, w, "/api/metrics/commits?service=%s&from=2025-03-01&to=2025-03-02", w.service)
	if quiet.Days == nil || quiet.Total != 0 {
		t.Errorf("without commits: %+v", quiet)
	}
}

func TestTheUsualRangeEndsTodayWhereTheTeamIs(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{"UTC": "2026-03-04", "Asia/Shanghai": "2026-03-05", "Pacific/Midway": "2026-03-04"} {
		w := newWorld(t, zone)
		w.rollup(want, 1, 0, 0, 5)
		frequency := get[metrics.DeploymentFrequency](t, w, "/api/metrics/deployment-frequency?service=%s", w.service)
		lead := get[metrics.ChangeLeadTime](t, w, "/api/metrics/change-lead-time?service=%s", w.service)
		series := metrics.Series{Service: w.service, Environment: "production", TimeZone: zone, From: "2025-12-15", To: want, Bucket: "week"}
		same(t, series, frequency.Series)
		same(t, series, lead.Series)
		if len(frequency.Buckets) != 12 || frequency.Total.Deployments != 1 || lead.Total.N != 1 || frequency.Buckets[11].Complete {
			t.Errorf("%s: %d buckets, %+v, %+v", zone, len(frequency.Buckets), frequency.Total, lead.Total)
		}
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "Europe/Berlin")
	same(t, []metrics.Service{{
		ID: w.service, Name: "shop", DeployedBy: "tag",
		Repository:   metrics.Repository{ID: w.repository, Name: "shop"},
		Team:         metrics.ServiceTeam{ID: w.team, Name: "Team", TimeZone: "Europe/Berlin"},
		Environments: []metrics.Environment{{ID: w.env, Name: "production", Kind: "production"}},
	}}, get[metrics.Services](t, w, "/api/metrics/services").Services)

	api := w.id("INSERT INTO services (repository_id, name, deployed_by) VALUES ($1, 'api', 'commit') RETURNING id", w.repository)
	live := w.id("INSERT INTO environments (service_id, name, kind) VALUES ($1, 'live', 'production') RETURNING id", api)
	canary := w.id("INSERT INTO environments (service_id, name, kind) VALUES ($1, 'canary', 'staging') RETURNING id", api)
	w.rollup("2026-02-01", 1, 0, 0)
	w.rollup("2026-03-01", 1, 0, 0)
	w.exec("INSERT INTO rollup_deployments VALUES ($1, '2025-01-01', 1, 0, 0), ($2, '2026-03-03', 1, 0, 0)", live, canary)
	w.exec("INSERT INTO rollup_commits VALUES ($1, '2026-01-15', 1), ($1, '2026-02-15', 1)", w.repository)
	w.exec("INSERT INTO dirty_days (rollup, scope, day) VALUES ('commits', $1, '2026-01-01'), ('commits', $1, '2026-01-01'), ('deployments', $2, '2026-01-01'), ('deployments', $3, '2026-01-01')", w.repository, live, canary)
	got := get[metrics.Services](t, w, "/api/metrics/services").Services
	if len(got) != 2 || got[0].ID != api || got[1].ID != w.service {
		t.Fatalf("got %+v, want api, then shop", got)
	}
	same(t, []metrics.Environment{{ID: live, Name: "live", Kind: "production"}, {ID: canary, Name: "canary", Kind: "staging"}}, got[0].Environments)
	same(t, []*string{ptr("2025-01-01"), ptr("2026-03-03"), ptr("2026-01-15"), ptr("2026-03-01")}, []*string{got[0].FirstDay, got[0].LastDay, got[1].FirstDay, got[1].LastDay})
	same(t, []int{3, 1}, []int{got[0].DirtyDays, got[1].DirtyDays})

	bare := w.id("INSERT INTO services (repository_id, name, deployed_by) VALUES ($1, 'bare', 'tag') RETURNING id", w.repository)
	if second := get[metrics.Services](t, w, "/api/metrics/services").Services[1]; second.ID != bare || second.Environments == nil || len(second.Environments) != 0 {
		t.Errorf("a service without environments: %+v", second)
	}
	w.member, _ = w.newMember("UTC")
	if none := get[metrics.Services](t, w, "/api/metrics/services").Services; none == nil || len(none) != 0 {
		t.Errorf("a team without services has %v", none)
	}
}

func TestDeploymentsList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "Asia/Shanghai")
	if empty := get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s", w.service); empty.Deployments == nil || len(empty.Deployments) != 0 || empty.Next != nil {
		t.Errorf("without deployments: %+v", empty)
	}
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	first := w.deploy("v1", at("2026-02-28T15:59:59Z"), "success")
	w.exec("UPDATE deployments SET baseline = true WHERE id = $1", first)
	second := w.deploy("v2", at("2026-02-28T16:00:00.000001Z"), "success", change{1, 10}, change{2, 30}, change{3, -5}, change{4, math.MaxInt32 + 1})
	third := w.deploy("v3", at("2026-03-01T10:00:00Z"), "failure", change{5, -7})
	w.exec("INSERT INTO deployments (environment_id, external_id, ref, sha, status) VALUES ($1, 'v4', 'v4', $2, 'running')", w.env, sha(0))
	zero := "0000000000000000000000000000000000000000"
	one := func(id uuid.UUID, ref, status, finished, day string) metrics.Deployment {
		return metrics.Deployment{ID: id, Ref: ref, SHA: zero, Status: status, FinishedAt: ptr(at(finished)), Day: &day}
	}
	v3 := one(third, "v3", "failure", "2026-03-01T10:00:00Z", "2026-03-01")
	v3.Changes, v3.Excluded = 1, 1
	v2 := one(second, "v2", "success", "2026-02-28T16:00:00.000001Z", "2026-03-01")
	v2.Changes, v2.Excluded, v2.LeadP50 = 4, 2, ptr(20.0)
	v1 := one(first, "v1", "success", "2026-02-28T15:59:59Z", "2026-02-28")
	v1.Baseline = true
	for query, want := range map[string][]metrics.Deployment{
		"":                               {v3, v2, v1},
		"&from=2026-03-01":               {v3, v2},
		"&to=2026-02-28":                 {v1},
		"&from=2026-02-28&to=2026-03-01": {v3, v2, v1},
		"&from=2026-03-02":               {},
	} {
		same(t, metrics.Deployments{Deployments: want}, get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s%s", w.service, query))
	}
}

// On the night that clocks go back over midnight, a day begins at the first of
// two midnights.
func TestDeploymentsOfADayWithTwoMidnights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "America/Havana")
	w.deploy("v1", time.Date(2026, time.November, 1, 3, 59, 59, 0, time.UTC), "success")
	w.deploy("v2", time.Date(2026, time.November, 1, 4, 30, 0, 0, time.UTC), "success")
	w.deploy("v3", time.Date(2026, time.November, 2, 4, 59, 59, 0, time.UTC), "success")
	w.deploy("v4", time.Date(2026, time.November, 2, 5, 0, 0, 0, time.UTC), "success")
	var refs []string
	for _, d := range get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s&from=2026-11-01&to=2026-11-01", w.service).Deployments {
		refs = append(refs, d.Ref)
	}
	same(t, []string{"v3", "v2"}, refs)
}

// A list in parts is the list, also where times are alike.
func TestPartsOfAListMakeTheWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.exec(`INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at)
		SELECT $1, n::text, n::text, $2, 'success', timestamptz '2026-03-01Z' + (n / 4) * interval '1 microsecond' FROM generate_series(1, 23) n`, w.env, sha(0))
	id := w.deploy("big", now, "success")
	w.exec(`INSERT INTO deployment_changes (deployment_id, environment_id, sha, lead_seconds)
		SELECT $1, $2, substr(sha256(n::text::bytea), 1, 20), n / 4 - 2 FROM generate_series(1, 23) n`, id, w.env)
	for limit := range 25 {
		var deployments, whole []metrics.Deployment
		var changes, wholeChanges []metrics.Change
		limit++
		whole = get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s&limit=200", w.service).Deployments
		for cursor := ""; ; {
			part := get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s&limit=%d&cursor=%s", w.service, limit, cursor)
			deployments = append(deployments, part.Deployments...)
			if part.Next == nil {
				break
			}
			same(t, limit, len(part.Deployments))
			cursor = *part.Next
		}
		wholeChanges = get[metrics.DeploymentChanges](t, w, "/api/metrics/deployments/%s/changes", id).Changes
		for cursor := ""; ; {
			part := get[metrics.DeploymentChanges](t, w, "/api/metrics/deployments/%s/changes?limit=%d&cursor=%s", id, limit, cursor)
			same(t, 23, part.Deployment.Changes)
			changes = append(changes, part.Changes...)
			if part.Next == nil {
				break
			}
			same(t, limit, len(part.Changes))
			cursor = *part.Next
		}
		same(t, 24, len(deployments))
		same(t, whole, deployments)
		same(t, 23, len(changes))
		if len(wholeChanges) != len(changes) {
			t.Fatalf("%d changes in parts, %d whole", len(changes), len(wholeChanges))
		}
		for i := range changes {
			same(t, wholeChanges[i].SHA, changes[i].SHA)
		}
	}
}

func TestDeploymentChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	at := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	id := w.deploy("v1", at, "success", change{1, 3600}, change{2, 60}, change{3, -60}, change{4, math.MaxInt32 + 1})
	w.exec("INSERT INTO deployment_changes (deployment_id, environment_id, sha, lead_seconds) VALUES ($1, $2, $3, 7200)", id, w.env, sha(9)) // its commit is not known
	got := get[metrics.DeploymentChanges](t, w, "/api/metrics/deployments/%s/changes", id)
	same(t, metrics.Deployment{
		ID: id, Ref: "v1", SHA: "0000000000000000000000000000000000000000", Status: "success", FinishedAt: &at, Day: ptr("2026-03-01"),
		Changes: 5, Excluded: 2, LeadP50: ptr(3600.0),
	}, got.Deployment)
	type row struct {
		SHA, Subject, Author string
		AuthoredAt           time.Time
		Lead                 int64
		Excluded             bool
	}
	var rows []row
	for _, c := range got.Changes {
		rows = append(rows, row{c.SHA, c.Subject, c.Author, c.AuthoredAt, c.LeadSeconds, c.Excluded})
	}
	one := func(n byte, lead int64, excluded bool) row {
		return row{fmt.Sprintf("%040x", n), fmt.Sprint("Subject ", n), fmt.Sprint("Author ", n), at.Add(-time.Duration(lead) * time.Second), lead, excluded}
	}
	unknown := one(9, 7200, false)
	unknown.Subject, unknown.Author = "", ""
	same(t, []row{one(3, -60, true), one(2, 60, false), one(1, 3600, false), unknown, one(4, math.MaxInt32+1, true)}, rows)

	running := w.id("INSERT INTO deployments (environment_id, external_id, ref, sha, status) VALUES ($1, 'v2', 'v2', $2, 'running') RETURNING id", w.env, sha(0))
	code, text := ask(t, w, w.handler, w.member, fmt.Sprintf("/api/metrics/deployments/%s/changes", running))
	want := fmt.Sprintf(`{"deployment":{"id":"%s","ref":"v2","sha":"0000000000000000000000000000000000000000","status":"running","finished_at":null,"day":null,"baseline":false,"changes":0,"excluded":0,"lead_p50":null},"changes":[],"next":null}`, running)
	if code != http.StatusOK || text != want {
		t.Errorf("%d %s, want %s", code, text, want)
	}
}
