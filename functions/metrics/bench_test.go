package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
)

// BenchmarkTwelveMonths asks for a year of a history of one year and of one of
// fifty, in turns, and beside them runs the bare statement, whose rows nobody
// decodes. The answer's cost must not depend on how long the history is.
func BenchmarkTwelveMonths(b *testing.B) {
	for _, route := range []string{"deployment-frequency", "change-lead-time", "commits"} {
		b.Run(route, func(b *testing.B) {
			short, _ := yearOf(b, route, 1)
			long, bare := yearOf(b, route, 50)
			var took [3]time.Duration
			for b.Loop() {
				for i, run := range []func(){short, long, bare} {
					begun := time.Now()
					run()
					took[i] += time.Since(begun)
				}
			}
			b.ReportMetric(took[1].Seconds()*1000/float64(b.N), "ms/answer")
			b.ReportMetric(float64(took[1])/float64(took[0]), "×1-year-of-history")
			b.ReportMetric(float64(took[1])/float64(took[2]), "×bare-statement")
		})
	}
}

// yearOf returns what asks for the last year of a history of so many years, and
// what runs the statement behind it.
func yearOf(b *testing.B, route string, years int) (answer, bare func()) {
	w := newWorld(b, "Europe/Berlin")
	w.history(years)
	path := fmt.Sprintf("/api/metrics/%s?service=%s&from=2025-03-05&to=2026-03-04", route, w.service)
	token := identitytest.Bearer(b, w.settings, w.member, uuid.New(), now)
	answer = func() {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", token)
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		if answer.Code != http.StatusOK {
			b.Fatal(answer.Code, answer.Body)
		}
	}
	handler, seen := w.traced()
	ask(b, w, handler, w.member, path)
	statement := seen.all[0]
	bare = func() {
		rows, err := w.pool.Query(b.Context(), statement.SQL, statement.Args...)
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			b.Fatal(err)
		}
	}
	answer()
	bare() // both have connected and prepared before anything is timed
	return answer, bare
}

// history writes the rollups of years up to today: a deployment of eight changes
// each day, and twenty commits.
func (w *world) history(years int) {
	w.t.Helper()
	today := now.Format(time.DateOnly)
	w.exec("INSERT INTO rollup_deployments SELECT $1, $2::date - n, 1, 0, 8 FROM generate_series(0, $3 * 365) n", w.env, today, years)
	w.exec(`INSERT INTO rollup_samples SELECT $1, 'change_lead_time', $2::date - n, 8, 0, ARRAY(SELECT n + i * 3600 FROM generate_series(1, 8) i)
		FROM generate_series(0, $3 * 365) n`, w.env, today, years)
	w.exec("INSERT INTO rollup_commits SELECT $1, $2::date - n, 20 FROM generate_series(0, $3 * 365) n", w.repository, today, years)
	w.exec("VACUUM ANALYZE rollup_deployments, rollup_samples, rollup_commits")
}
