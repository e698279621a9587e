package metrics_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// told is what a report was answered.
type told struct {
	code  int
	text  string
	known metrics.Reported
	problem
}

// tell reports a deployment with a token, with some of the report changed; nil takes a
// member away.
func tell(t testing.TB, handler http.Handler, token string, changes map[string]any) told {
	t.Helper()
	report := map[string]any{"service": "shop", "external_id": "run-1", "sha": strings.Repeat("ab", 20), "status": "success", "finished_at": "2026-03-04T12:00:00Z"}
	maps.Copy(report, changes)
	maps.DeleteFunc(report, func(_ string, value any) bool { return value == nil })
	body, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/metrics/deployments", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	out := told{code: w.Code, text: w.Body.String()}
	if w.Code == http.StatusOK {
		err = json.Unmarshal(w.Body.Bytes(), &out.known)
	} else {
		err = json.Unmarshal(w.Body.Bytes(), &out.problem)
	}
	if err != nil {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
	return out
}

// want fails the test unless the answer has a status and, where one is named, a code.
func (a told) want(t testing.TB, what string, status int, code ...string) {
	t.Helper()
	if a.code != status || len(code) > 0 && a.problem.Code != code[0] {
		t.Errorf("%s: %d %s, want %d %v", what, a.code, a.text, status, code)
	}
}

// as is the access token of a member who has a role in the world's team.
func (w *world) as(role string) string {
	w.t.Helper()
	user, _ := w.newMember("UTC")
	w.exec("INSERT INTO memberships (user_id, team_id, role) VALUES ($1, $2, $3)", user, w.team, role)
	return w.bearer(user)
}

func (w *world) bearer(user uuid.UUID) string {
	return strings.TrimPrefix(identitytest.Bearer(w.t, w.settings, user, user, now), "Bearer ")
}

// marks are the days that are marked, in order, each as often as it is.
func (w *world) marks() string {
	w.t.Helper()
	var days string
	if err := w.pool.QueryRow(w.t.Context(), "SELECT COALESCE(string_agg(to_char(day, 'MM-DD'), ' ' ORDER BY day), '') FROM dirty_days WHERE rollup = 'deployments'").Scan(&days); err != nil {
		w.t.Fatal(err)
	}
	return days
}

func TestAReportIsADeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "Asia/Shanghai")
	token := w.newToken(w.team, "report")
	for i, service := range []string{"shop", w.service.String()} {
		first := tell(t, w.handler, token, map[string]any{"service": service, "external_id": fmt.Sprint("run-", i), "ref": "v1.4.0", "finished_at": "2026-03-04T12:00:00+01:00"})
		first.want(t, service, http.StatusOK)
		at := time.Date(2026, 3, 4, 11, 0, 0, 0, time.UTC)
		same(t, metrics.Reported{ID: first.known.ID, Service: w.service, Status: "success", FinishedAt: &at, Changed: true}, first.known)
		again := tell(t, w.handler, token, map[string]any{"service": service, "external_id": fmt.Sprint("run-", i), "finished_at": "2026-03-04T11:00:00Z"})
		same(t, metrics.Reported{ID: first.known.ID, Service: w.service, Status: "success", FinishedAt: &at}, again.known)
	}
	same(t, "03-04 03-04", w.marks())
	list := get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s", w.service).Deployments
	if len(list) != 2 || list[0].Ref != "v1.4.0" || list[0].SHA != strings.Repeat("ab", 20) || list[0].Baseline || list[0].Changes != 0 {
		t.Errorf("%+v", list)
	}
	// Without a time, it ended now, which is tomorrow where the team is; without a name,
	// it is called by its commit.
	tell(t, w.handler, token, map[string]any{"external_id": "now", "finished_at": nil, "status": "failure"}).want(t, "now", http.StatusOK)
	latest := get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s", w.service).Deployments[0]
	if !latest.FinishedAt.Equal(now) || *latest.Day != "2026-03-05" || latest.Ref != "ababababab" || latest.Status != "failure" {
		t.Errorf("%+v", latest)
	}
	same(t, "03-04 03-04 03-05", w.marks())
}

// end is one report of a deployment.
type end struct {
	status string
	minute int // after noon; of no use while it is running
}

func (e end) report(id string) map[string]any {
	report := map[string]any{"external_id": id, "status": e.status, "finished_at": nil}
	if e.status != "running" {
		report["finished_at"] = noon.Add(time.Duration(e.minute) * time.Minute)
	}
	return report
}

var noon = time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)

// day is the local day of an end, "" while there is none.
func (e end) day() string {
	if e.status == "running" {
		return ""
	}
	return noon.Add(time.Duration(e.minute) * time.Minute).Format("01-02")
}

var ranks = []string{"running", "failure", "success"}

// stands is what several reports come to, in whatever order.
func stands(ends []end) end {
	out := end{"running", 0}
	for _, e := range ends {
		higher := slices.Index(ranks, e.status) - slices.Index(ranks, out.status)
		if higher > 0 || higher == 0 && e.status != "running" && e.minute < out.minute {
			out = e
		}
	}
	if out.status == "running" {
		out.minute = 0
	}
	return out
}

func anyEnds() *rapid.Generator[[]end] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) end {
		e := end{status: rapid.SampledFrom(ranks).Draw(t, "status")}
		if e.status != "running" {
			e.minute = rapid.IntRange(0, 3).Draw(t, "day") * 12 * 60
		}
		return e
	}), 1, 6)
}

// In whatever order reports of a deployment come, and however often, what stands is
// the same, and the days are marked that it left and that it came to.
func TestReportsConverge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	rapid.Check(t, func(rt *rapid.T) {
		ends, id := anyEnds().Draw(rt, "ends"), uuid.NewString()
		for i, e := range ends {
			w.exec("DELETE FROM dirty_days")
			before, after := end{"running", 0}, stands(ends[:i+1])
			if i > 0 {
				before = stands(ends[:i])
			}
			got := tell(t, w.handler, token, e.report(id))
			changed := i == 0 || before != after
			if got.code != http.StatusOK || got.known.Status != after.status || got.known.Changed != changed || (got.known.FinishedAt == nil) != (after.day() == "") ||
				got.known.FinishedAt != nil && !got.known.FinishedAt.Equal(noon.Add(time.Duration(after.minute)*time.Minute)) {
				rt.Errorf("%v: %d %s, want %+v, changed %v", ends[:i+1], got.code, got.text, after, changed)
			}
			var days []string
			if changed {
				days = slices.DeleteFunc([]string{before.day(), after.day()}, func(day string) bool { return day == "" })
				slices.Sort(days)
				days = slices.Compact(days)
			}
			if got := w.marks(); got != strings.Join(days, " ") {
				rt.Errorf("%v: marked are %q, want %q", ends[:i+1], got, days)
			}
		}
	})
}

// Of many who report the same at once one is news; and of those who report different
// things, what stands is what it would be one after the other, with its day marked.
func TestReportsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	for round := range 5 {
		w.exec("DELETE FROM dirty_days")
		news := make(chan bool, 8)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				got := tell(t, w.handler, token, map[string]any{"external_id": fmt.Sprint("same ", round), "environment": fmt.Sprint("new ", round)})
				got.want(t, "the same", http.StatusOK)
				news <- got.known.Changed
			})
		}
		all.Wait()
		close(news)
		changes := 0
		for changed := range news {
			if changed {
				changes++
			}
		}
		if changes != 1 || w.marks() != "03-04" {
			t.Errorf("%d of 8 were news, and marked are %q", changes, w.marks())
		}
		w.exec("DELETE FROM dirty_days")
		ends := []end{{"running", 0}, {"failure", 0}, {"failure", 24 * 60}, {"success", 72 * 60}, {"success", 48 * 60}, {"success", 96 * 60}}
		id := fmt.Sprint("different ", round)
		for _, e := range ends {
			all.Go(func() { tell(t, w.handler, token, e.report(id)).want(t, "different", http.StatusOK) })
		}
		all.Wait()
		last := tell(t, w.handler, token, ends[0].report(id))
		if want := stands(ends); last.known.Status != want.status || last.known.FinishedAt.Format("01-02") != want.day() || last.known.Changed || !strings.Contains(w.marks(), want.day()) {
			t.Errorf("stands %s, marked are %s, want %+v", last.text, w.marks(), want)
		}
	}
}

// A change that waited for another marks the day that the other had come to, though
// it could not see it when it began.
func TestAReportThatWaitsMarksTheDayItMovesFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	early := map[string]any{"finished_at": "2026-03-02T12:00:00Z"}
	tell(t, w.handler, token, map[string]any{"external_id": "another"}).want(t, "the environment is there", http.StatusOK)
	w.exec("DELETE FROM dirty_days")
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "UPDATE environments SET kind = kind"); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { tell(t, w.handler, token, early).want(t, "the one that waits", http.StatusOK) })
	for w.count("pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
	}
	_, err = tx.Exec(t.Context(), "INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at) VALUES ($1, 'report:run-1', 'x', $2, 'success', '2026-03-04T12:00:00Z')",
		w.env, slices.Repeat([]byte{0xab}, 20))
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	same(t, "03-02 03-04", w.marks())
}

func TestWhoMayReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	stranger, foreign := w.newMember("UTC")
	w.exec("UPDATE memberships SET role = 'owner' WHERE user_id = $1", stranger)
	revoked := w.newToken(w.team, "report")
	w.exec("UPDATE api_tokens SET revoked_at = now()")
	for what, c := range map[string]struct {
		token, code string
		status      int
	}{
		"an owner":                    {w.as("owner"), "", http.StatusOK},
		"an editor":                   {w.as("editor"), "", http.StatusOK},
		"a viewer":                    {w.as("viewer"), "role_too_low", http.StatusForbidden},
		"an owner elsewhere":          {w.bearer(stranger), "not_found", http.StatusNotFound},
		"a token that reports":        {w.newToken(w.team, "report"), "", http.StatusOK},
		"a token that reads":          {w.newToken(w.team, "read"), "wrong_scope", http.StatusForbidden},
		"a token of another team":     {w.newToken(foreign, "report"), "not_found", http.StatusNotFound},
		"a reader of another team":    {w.newToken(foreign, "read"), "wrong_scope", http.StatusForbidden},
		"a token that was revoked":    {revoked, "invalid_token", http.StatusUnauthorized},
		"a session that is not there": {w.bearer(uuid.New()), "session_revoked", http.StatusUnauthorized},
		"nobody":                      {"", "invalid_token", http.StatusUnauthorized},
	} {
		for _, service := range []string{"shop", w.service.String()} {
			tell(t, w.handler, c.token, map[string]any{"service": service}).want(t, what, c.status, c.code)
			tell(t, w.handler, c.token, map[string]any{"service": service, "team": w.team}).want(t, what+", by the team", c.status, c.code)
		}
	}
	for what, changes := range map[string]map[string]any{
		"no service of that id":              {"service": uuid.New()},
		"no service of that name":            {"service": "Shop"},
		"a service that is not of that team": {"team": foreign},
		"no team":                            {"team": uuid.New()},
	} {
		tell(t, w.handler, w.as("owner"), changes).want(t, what, http.StatusNotFound, "not_found")
	}
	if n := w.count("environments"); n != 1 {
		t.Errorf("%d environments", n)
	}
}

func (w *world) count(sql string) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM "+sql).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Once a revocation is answered, nothing is written for the token.
func TestAReportingTokenIsRevokedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		w.exec("UPDATE api_tokens SET revoked_at = clock_timestamp()")
		close(done)
	})
	for n := range 4 {
		all.Go(func() {
			for i := range 20 {
				over := false
				select {
				case <-done:
					over = true
				default:
				}
				got := tell(t, w.handler, token, map[string]any{"external_id": fmt.Sprintf("%d of %d", i, n), "ref": fmt.Sprint("over: ", over)})
				if got.code != http.StatusUnauthorized && (over || got.code != http.StatusOK) {
					t.Errorf("%d %s, revoked before: %v", got.code, got.text, over)
				}
			}
		})
	}
	all.Wait()
	if n := w.count("deployments WHERE ref = 'over: true'"); n != 0 {
		t.Errorf("%d deployments were written afterwards", n)
	}
}

func TestWhatCannotBeReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	long := strings.Repeat("a", 201)
	for what, c := range map[string]struct {
		changes map[string]any
		at      string
	}{
		"nothing of the service":    {map[string]any{"service": nil}, "body"},
		"an empty service":          {map[string]any{"service": ""}, "body.service"},
		"a long service":            {map[string]any{"service": long}, "body.service"},
		"no id":                     {map[string]any{"external_id": nil}, "body"},
		"an empty id":               {map[string]any{"external_id": ""}, "body.external_id"},
		"an id of spaces":           {map[string]any{"external_id": " "}, "body.external_id"},
		"an id of lines":            {map[string]any{"external_id": "a\nb"}, "body.external_id"},
		"a long id":                 {map[string]any{"external_id": long}, "body.external_id"},
		"a short commit":            {map[string]any{"sha": "abcdef1"}, "body.sha"},
		"a commit in capitals":      {map[string]any{"sha": strings.Repeat("AB", 20)}, "body.sha"},
		"a commit between":          {map[string]any{"sha": strings.Repeat("ab", 25)}, "body.sha"},
		"no commit":                 {map[string]any{"sha": nil}, "body"},
		"another status":            {map[string]any{"status": "inactive"}, "body.status"},
		"no status":                 {map[string]any{"status": nil}, "body"},
		"a time of what is running": {map[string]any{"status": "running"}, "body.finished_at"},
		"a time to come":            {map[string]any{"finished_at": now.Add(5*time.Minute + time.Second)}, "body.finished_at"},
		"a time before time":        {map[string]any{"finished_at": "1970-01-01T23:59:59Z"}, "body.finished_at"},
		"no time":                   {map[string]any{"finished_at": "yesterday"}, "body.finished_at"},
		"an environment of lines":   {map[string]any{"environment": "a\tb"}, "body.environment"},
		"an empty environment":      {map[string]any{"environment": ""}, "body.environment"},
		"a name with a space":       {map[string]any{"ref": "v1 "}, "body.ref"},
		"a long name":               {map[string]any{"ref": long}, "body.ref"},
		"no team":                   {map[string]any{"team": "Engines"}, "body.team"},
		"something else":            {map[string]any{"duration": 1}, "body.duration"},
	} {
		got := tell(t, w.handler, token, c.changes)
		if got.code != http.StatusUnprocessableEntity || len(got.Errors) == 0 || got.Errors[0].Location != c.at {
			t.Errorf("%s: %d %s, want 422 at %s", what, got.code, got.text, c.at)
		}
	}
	if n := w.count("deployments"); n != 0 {
		t.Errorf("%d were written", n)
	}
	for what, changes := range map[string]map[string]any{
		"a clock that is ahead": {"external_id": "1", "finished_at": now.Add(5 * time.Minute)},
		"the first day":         {"external_id": "2", "finished_at": "1970-01-02T00:00:00Z"},
		"a commit of 32 bytes":  {"external_id": "3", "sha": strings.Repeat("ab", 32)},
		"any script":            {"external_id": "развёртывание-4", "environment": "本番", "ref": "إصدار"},
		"what is long":          {"external_id": long[1:], "environment": long[1:], "ref": long[1:]},
	} {
		tell(t, w.handler, token, changes).want(t, what, http.StatusOK)
	}
	// One id is one deployment, of one commit.
	tell(t, w.handler, token, map[string]any{"external_id": "1", "sha": strings.Repeat("cd", 20)}).want(t, "another commit", http.StatusConflict, "other_commit")
	var sha []byte
	if err := w.pool.QueryRow(t.Context(), "SELECT sha FROM deployments WHERE external_id = 'report:1'").Scan(&sha); err != nil || hex.EncodeToString(sha) != strings.Repeat("ab", 20) {
		t.Errorf("%x, %v", sha, err)
	}
}

// An environment is made by its first report, of the kind that its name says; and
// there is an end to them.
func TestEnvironmentsAreMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "report")
	for name, kind := range map[string]string{"Production": "production", "prod": "production", "STAGE": "staging", "staging": "staging", "preview": "other", "preprod": "other"} {
		tell(t, w.handler, token, map[string]any{"environment": name}).want(t, name, http.StatusOK)
		var got string
		if err := w.pool.QueryRow(t.Context(), "SELECT kind FROM environments WHERE name = $1", name).Scan(&got); err != nil || got != kind {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	// Whoever has said otherwise is not overruled.
	w.exec("UPDATE environments SET kind = 'production' WHERE name = 'preview'")
	tell(t, w.handler, token, map[string]any{"environment": "preview", "external_id": "2"}).want(t, "again", http.StatusOK)
	if n := w.count("environments WHERE name = 'preview' AND kind = 'production'"); n != 1 {
		t.Error("the kind was changed")
	}
	w.exec("INSERT INTO environments (service_id, name, kind) SELECT $1, n::text, 'other' FROM generate_series(1, 92) n", w.service)
	tell(t, w.handler, token, map[string]any{"environment": "the hundredth"}).want(t, "the hundredth", http.StatusOK)
	got := tell(t, w.handler, token, map[string]any{"environment": "one more"})
	got.want(t, "one more", http.StatusConflict, "too_many")
	if !strings.Contains(got.Detail, "at most 100") {
		t.Error(got.text)
	}
	tell(t, w.handler, token, map[string]any{"environment": "the hundredth"}).want(t, "again", http.StatusOK)
	if n := w.count("environments"); n != 100 {
		t.Errorf("%d environments", n)
	}
}

// A report is written whole or not at all, and one whose answer was lost is repeated.
func TestReportsWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	_, other := w.newMember("UTC")
	editor, job := w.as("editor"), 0
	w.trust(w.team, 74, 65, "")
	for what, send := range map[string]func(http.Handler) told{
		"a report":        func(h http.Handler) told { return tell(t, h, editor, nil) },
		"one of nothing":  func(h http.Handler) told { return tell(t, h, editor, map[string]any{"team": other}) },
		"one of a viewer": func(h http.Handler) told { return tell(t, h, w.bearer(w.member), nil) },
		"one of a job": func(h http.Handler) told {
			job++
			return tell(t, h, w.github.Token(74, 65, nil), map[string]any{"external_id": fmt.Sprint(job)})
		},
		"one of a stranger":  func(h http.Handler) told { return tell(t, h, w.github.Token(75, 65, nil), nil) },
		"one by a wrong API": func(h http.Handler) told { return tell(t, h, w.newToken(w.team, "read"), nil) },
	} {
		for n, proxy := range pgtest.Breaks(t, w.url) {
			got := send(w.serve(metrics.Function, proxy.URL))
			if broken := proxy.Broken(); broken != (got.code == http.StatusServiceUnavailable) {
				t.Errorf("%s, step %d: %d %s", what, n, got.code, got.text)
			}
		}
	}
	if n, m := w.count("deployments"), w.count("(SELECT DISTINCT day FROM dirty_days) d"); n < 2 || m != 1 {
		t.Errorf("%d deployments, %d days marked", n, m)
	}
}
