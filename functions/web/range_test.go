package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A history that is longer than one question may span is never shown as whole.
func TestDashboardSaysWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	const chooseAll = `document.querySelector("input[value='all']").click()`
	const nameOfAll = `document.querySelector("input[value='all']").nextElementSibling.textContent`

	b.signIn(s.url)
	b.waitText("#deployments", "3")
	b.do(chromedp.Evaluate[chromedp.Void](chooseAll))
	b.wait(`location.search.includes("range=all")`)
	if got := eval[string](b.tab, nameOfAll); got != "All" {
		t.Errorf("the range of a short history is named %q", got)
	}
	if got := b.text(".unseen"); got != "(nothing)" {
		t.Errorf("a short history is shown with %q", got)
	}

	// One deployment is twelve years older. The newest is of four days ago.
	s.exec(`UPDATE deployments SET finished_at = '2014-03-12T12:00:00Z' WHERE ref = 'v1.0.0'`)
	s.exec(`DELETE FROM rollup_deployments`)
	s.exec(`DELETE FROM rollup_samples`)
	s.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT 'deployments', environment_id, (finished_at AT TIME ZONE '` + zone + `')::date FROM deployments`)
	s.condense()
	tokyo, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	last := time.Now().In(tokyo).AddDate(0, 0, -4)
	first := last.AddDate(0, 0, -1826)
	const written = "2 Jan 2006"

	b.do(chromedp.Navigate(s.url))
	b.waitText("#deployments", "2")
	if got := eval[string](b.tab, nameOfAll); got != "5 years" {
		t.Errorf("the range of a long history is named %q before it is chosen", got)
	}
	b.do(chromedp.Evaluate[chromedp.Void](chooseAll))
	b.waitText(".unseen", "Older history is not shown: 12 Mar 2014 – "+first.AddDate(0, 0, -1).Format(written))
	b.waitText("h1", first.Format(written)+" – "+last.Format(written))
	b.waitText(".cards", "of 1,827 days")
	b.screenshot("five-years")

	// What is empty is the range, not the history.
	s.exec(`UPDATE deployments SET finished_at = '2014-03-12T12:00:00Z'`)
	s.exec(`DELETE FROM rollup_deployments`)
	s.exec(`DELETE FROM rollup_samples`)
	s.exec(`INSERT INTO dirty_days (rollup, scope, day) SELECT DISTINCT 'deployments', environment_id, date '2014-03-12' FROM deployments`)
	s.condense()
	b.do(chromedp.Reload())
	last = time.Now().In(tokyo).AddDate(0, 0, -9) // the last commit
	b.waitText(".holds-chart .empty", "No deployment from "+last.AddDate(0, 0, -1826).Format(written)+" to "+last.Format(written)+".")
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("input[value='4w']").click()`))
	b.waitText(".holds-chart button", "Show the history's last 5 years")
	b.expectQuiet(unauthorized)
}

// The server may know a time zone that the browser does not.
func TestDashboardSurvivesUnknownZones(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/metrics/services" {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		_, _ = w.Write([]byte(strings.ReplaceAll(answer.Body.String(), zone, "Mars/Olympus")))
	})
	b.signIn(s.url)
	b.waitText("#deployments", "3")
	b.waitText(".notice", "does not know the team's time zone Mars/Olympus")
	b.waitText(".holds-list", "times in UTC")
	b.waitText(".deployments", "16:00") // one o'clock in Tokyo
	b.expectQuiet(unauthorized)
}
