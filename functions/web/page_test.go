package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

const (
	email    = "ada@example.org"
	password = "a heron stands in the reeds"
	// Ahead of UTC, so that its days are not UTC's.
	zone = "Asia/Tokyo"
)

// site is every function behind one address, as people meet them.
type site struct {
	t    *testing.T
	url  string
	db   *pgxpool.Pool
	team string

	mu     sync.Mutex
	weaken func(next http.Handler, w http.ResponseWriter, r *http.Request) // what is wrong with the way there
	asked  []string                                                        // method, path and status of each answer by the API
}

func newSite(t *testing.T) *site { t.Helper(); return newSiteWith(t, nil) }

// newSiteWith is newSite with some settings changed, which may depend on the site's
// address. What share does to the process comes first.
func newSiteWith(t *testing.T, changes func(origin string) map[string]string, share ...func(*function.Env)) *site {
	t.Helper()
	s := &site{t: t}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		weaken := s.weaken
		s.mu.Unlock()
		noted := &statusNote{ResponseWriter: w, status: http.StatusOK}
		if weaken != nil {
			weaken(handler, noted, r)
		} else {
			handler.ServeHTTP(noted, r)
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			s.mu.Lock()
			s.asked = append(s.asked, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, noted.status))
			s.mu.Unlock()
		}
	}))
	s.url = server.URL
	settings := identitytest.Settings(t)
	settings["DATABASE_URL"] = pgtest.URL(t)
	settings["REDIS_URL"] = "redis://" + miniredis.RunT(t).Addr()
	settings["RATE_LIMIT_SCALE"] = "1000" // for tests that are about something else
	if changes != nil {
		maps.Copy(settings, changes(s.url))
	}
	log := slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})
	env := function.NewEnv(slog.New(log), time.Now, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	for _, share := range share {
		share(env)
	}
	var err error
	handler, err = function.Handler(env, functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.db, err = pgxpool.New(context.Background(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	s.team = s.register(m{"email": email, "password": password, "name": "Ada Example", "team": "Reeds", "time_zone": zone}).Teams[0].ID
	return s
}

// account is somebody's, as the API answers.
type account struct {
	Token string // for the API
	ID    string
	Teams []struct{ ID string }
}

// register opens an account, with an operator's link, so that it goes by every rule.
func (s *site) register(body m) account {
	s.t.Helper()
	if body["link"] == nil {
		body["link"] = s.link("owner", "")
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		User        struct {
			ID    string
			Teams []struct{ ID string }
		}
	}
	s.post("/api/auth/register", body, &answer)
	return account{answer.AccessToken, answer.User.ID, answer.User.Teams}
}

// link returns the secret of a link of an operator's: for the account of an address
// where it sets a password.
func (s *site) link(kind, address string) string {
	s.t.Helper()
	secret := access.NewSecret(access.LinkPrefix)
	s.exec(`INSERT INTO links (kind, secret_hash, user_id, expires_at) VALUES ($1, $2, (SELECT id FROM users WHERE email = $3), now() + interval '1 hour')`,
		kind, access.DigestOf(secret).Bytes(), address)
	return secret
}

type statusNote struct {
	http.ResponseWriter
	status int
}

func (n *statusNote) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

func (s *site) post(path string, question, answer any) {
	s.t.Helper()
	var sent io.Reader
	if question != nil {
		sent = strings.NewReader(quoted(question))
	}
	r, err := http.Post(s.url+path, "application/json", sent)
	if err != nil {
		s.t.Fatal(err)
	}
	s.read(r, answer)
}

// read takes an answer that has to be good. A nil into wants none.
func (s *site) read(r *http.Response, into any) {
	s.t.Helper()
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %d %s %v", r.Request.Method, r.Request.URL.Path, r.StatusCode, content, err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(content, into); err != nil {
		s.t.Fatal(err)
	}
}

// between has f answer from now on; nil for the functions alone.
func (s *site) between(f func(next http.Handler, w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.weaken = f
}

// answers returns how often the API answered so, and begins to count anew.
func (s *site) answers(line string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, asked := range s.asked {
		if asked == line {
			n++
		}
	}
	s.asked = nil
	return n
}

func (s *site) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// history inserts a service whose figures are known: over the last 12 weeks three
// deployments and one that failed, four changes with lead times of 1, 2, 3 and
// 74.4 hours, and five commits besides a merge.
func (s *site) history() {
	s.t.Helper()
	s.exec(`WITH repository AS (
		INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', 'heron', 'heron') RETURNING id)
	, service AS (
		INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'heron', 'tag' FROM repository RETURNING id)
	, environment AS (
		INSERT INTO environments (service_id, name, kind) SELECT id, 'production', 'production' FROM service)
	INSERT INTO authors (repository_id, name, email) SELECT id, 'Grace Example', 'grace@example.org' FROM repository`, s.team)
	// One o'clock in the morning in Tokyo is the day before in UTC.
	const at = `((now() AT TIME ZONE '` + zone + `')::date - $1::int + time '01:00') AT TIME ZONE '` + zone + `'`
	for _, commit := range []struct {
		n, daysAgo, parents int
		subject             string
	}{{1, 50, 1, "Begin"}, {2, 21, 1, "Wade"}, {3, 21, 1, "Listen"}, {4, 21, 1, "Wait"}, {5, 20, 2, "Merge branch 'reeds'"}, {6, 9, 1, "Strike <b>fast</b> & well"}} {
		s.exec(`INSERT INTO commits SELECT r.id, sha256(convert_to($2, 'UTF8')), a.id, `+at+`, `+at+`, $3, $4 FROM repositories r, authors a`,
			commit.daysAgo, fmt.Sprint(commit.n), commit.parents, commit.subject)
	}
	for _, deployment := range []struct {
		ref, status string
		daysAgo     int
		baseline    bool
		changes     map[int]int // commit to hours
	}{
		{"v1.0.0", "success", 40, true, nil},
		{"v1.1.0", "success", 20, false, map[int]int{2: 3600, 3: 7200, 4: 10800}},
		{"v1.2.0", "success", 5, false, map[int]int{6: 267_840}},
		{"v1.2.1", "failure", 4, false, nil},
	} {
		s.exec(`INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at, baseline)
			SELECT id, $2, $2, sha256(convert_to($2, 'UTF8')), $3, `+at+`, $4 FROM environments`, deployment.daysAgo, deployment.ref, deployment.status, deployment.baseline)
		for commit, seconds := range deployment.changes {
			s.exec(`INSERT INTO deployment_changes SELECT id, environment_id, sha256(convert_to($2, 'UTF8')), $3 FROM deployments WHERE ref = $1`,
				deployment.ref, fmt.Sprint(commit), seconds)
		}
	}
	s.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT 'deployments', environment_id, (finished_at AT TIME ZONE '` + zone + `')::date FROM deployments
		UNION SELECT 'commits', repository_id, (authored_at AT TIME ZONE '` + zone + `')::date FROM commits`)
}

func (s *site) condense() {
	s.t.Helper()
	for {
		var done struct{ Condensed, Left int }
		s.post("/api/rollup/condense", nil, &done)
		if done.Left == 0 {
			return
		}
		if done.Condensed == 0 {
			s.t.Fatal("rollup makes no progress")
		}
	}
}

func (p tab) signIn(url string) { p.t.Helper(); p.signInAs(url, email) }

func (p tab) signInAs(url, email string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
	p.wait(`document.querySelector("#password")`)
	p.do(
		chromedp.SendKeys(chromedp.CSS("#email"), email),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
	)
	p.submit()
	p.wait(`document.querySelector(".top")`)
}

// unauthorized is what the browser itself logs when a page asks whether somebody
// is signed in and nobody is.
const unauthorized = "status of 401"

func TestDashboardShowsTheFigures(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	b.view(1280, 900, "light")
	b.signIn(s.url)
	b.waitText("#deployments", "3")
	b.waitText("#lead-p50", "2 h 30 min")
	b.waitText("#lead-p90", "2.2 d") // 3 h and 70 % of the way to 74.4 h
	b.waitText("#commits", "5")
	cards := b.text(".cards")
	for _, want := range []string{"0.25 per week", "on 3 of 84 days, 1 failed", "n = 4 changes", "on 3 days, without merges"} {
		if !strings.Contains(cards, want) {
			t.Errorf("the cards do not say %q: %s", want, cards)
		}
	}

	// The list, and the changes of a deployment.
	b.waitText(".deployments", "v1.2.1")
	refs := eval[[]string](b.tab, `[...document.querySelectorAll(".deployments .ref")].map((e) => e.textContent)`)
	if diff := cmp.Diff([]string{"v1.2.1", "v1.2.0", "v1.1.0", "v1.0.0"}, refs); diff != "" {
		t.Errorf("deployments (-want +got):\n%s", diff)
	}
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll(".expand")[1].click()`))
	b.waitText(".changes", "Strike <b>fast</b> & well")
	b.waitText(".changes", "Grace Example")
	b.waitText(".changes", "3.1 d")
	if got := eval[string](b.tab, `document.querySelectorAll(".deployments > tbody")[1].querySelector("td").textContent`); !strings.Contains(got, "01:00") {
		t.Errorf("v1.2.0 finished %s, want 01:00 by the team's clock", got)
	}
	if got := eval[string](b.tab, `document.querySelectorAll(".deployments > tbody")[3].textContent`); !strings.Contains(got, "first") || strings.Contains(got, "0 s") {
		t.Errorf("the first deployment shows %q", got)
	}

	// The charts, read by keyboard, and their tables.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("details").open = true`))
	b.wait(`document.querySelectorAll("details tbody tr").length >= 12`)
	sum := eval[int](b.tab, `[...document.querySelectorAll("details tbody tr")].reduce((n, row) => n + Number(row.lastElementChild.textContent), 0)`)
	if sum != 3 {
		t.Errorf("the buckets hold %d deployments, want 3", sum)
	}
	b.do(chromedp.Focus(chromedp.CSS(".plot")), chromedp.KeyEvent(kb.ArrowLeft))
	b.wait(`document.querySelector(".tip")?.textContent.includes("so far")`)
	b.screenshot("desktop-light")

	// A longer range, kept in the address, and back.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("input[value='12m']").click()`))
	b.wait(`location.search.includes("range=12m") && document.querySelector(".cards").textContent.includes("of 365 days")`)
	b.do(chromedp.NavigateBack())
	b.wait(`document.querySelector(".cards").textContent.includes("of 84 days")`)

	b.view(1280, 900, "dark")
	b.screenshot("desktop-dark")
	b.view(390, 844, "dark")
	b.screenshot("phone-dark")
	b.view(390, 844, "light")
	b.screenshot("phone-light")
	b.wait(`document.documentElement.scrollWidth <= 390`) // charts follow a moment later
	b.view(320, 640, "light")
	b.wait(`document.documentElement.scrollWidth <= 320`) // charts follow a moment later
	b.expectQuiet(unauthorized)
}

// What an import reads of a repository is what the page shows.
func TestDashboardShowsWhatWasImported(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	dir, now := filepath.Join(t.TempDir(), "heron"), time.Now()
	git := func(ago time.Duration, args ...string) {
		t.Helper()
		at := fmt.Sprintf("@%d +0000", now.Add(-ago).Unix())
		command := exec.Command("git", append([]string{"-C", dir}, args...)...)
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=Grace Example", "GIT_AUTHOR_EMAIL=grace@example.org", "GIT_AUTHOR_DATE="+at,
			"GIT_COMMITTER_NAME=Grace Example", "GIT_COMMITTER_EMAIL=grace@example.org", "GIT_COMMITTER_DATE="+at)
		if said, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, said)
		}
	}
	commit := func(ago time.Duration, subject string) {
		t.Helper()
		git(ago, "commit", "-q", "--allow-empty", "-m", subject)
	}
	const day = 24 * time.Hour
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	git(0, "init", "-q", "-b", "main")
	commit(40*day, "Begin")
	git(0, "tag", "v1.0.0")
	git(0, "checkout", "-q", "-b", "reeds")
	commit(23*day, "Wade")
	git(0, "checkout", "-q", "main")
	commit(21*day, "Listen")
	git(20*day+3*time.Hour, "merge", "-q", "--no-ff", "-m", "Merge branch 'reeds'", "reeds")
	commit(20*day+3*time.Hour, "Strike <b>fast</b> & well")
	git(20*day, "tag", "-a", "-m", "The second", "v1.1.0")
	git(0, "tag", "latest")

	source, err := history.Open(t.Context(), dir, regexp.MustCompile(history.DefaultVersions))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := history.Import(t.Context(), postgres.Over(s.db), uuid.MustParse(s.team), source, nil); err != nil {
		t.Fatal(err)
	}
	s.condense()
	b.signIn(s.url)
	b.waitText(".deployments", "v1.1.0")
	for selector, want := range map[string]string{"#deployments": "2", "#lead-p50": "1 d", "#lead-p90": "2.6 d", "#commits": "4"} {
		b.wait(fmt.Sprintf("document.querySelector(%q)?.textContent === %q", selector, want))
	}
	cards := b.text(".cards")
	for _, want := range []string{"on 2 of 84 days", "n = 3 changes"} {
		if !strings.Contains(cards, want) {
			t.Errorf("the cards do not say %q: %s", want, cards)
		}
	}
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".expand").click()`))
	b.wait(`document.querySelector(".changes tbody tr")`)
	texts := func(selector string) []string {
		return eval[[]string](b.tab, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.textContent)", selector))
	}
	for selector, want := range map[string][]string{
		".deployments .ref":       {"v1.1.0", "v1.0.0"},
		".deployments td.number":  {"3", "1 d", "3 h", "1 d", "3 d", "–", "–"},
		".changes tbody .subject": {"Strike <b>fast</b> & well", "Listen", "Wade"},
		".changes tbody .author":  {"Grace Example", "Grace Example", "Grace Example"},
	} {
		if diff := cmp.Diff(want, texts(selector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", selector, diff)
		}
	}
	b.expectQuiet(unauthorized)
}

func TestDashboardSaysWhyItIsEmpty(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	b.waitText("main", "Nothing to show yet")

	// Facts that are not condensed: said, and followed by itself.
	s.history()
	b.do(chromedp.Navigate(s.url))
	b.waitText(".notice", "still to be condensed")
	for _, figure := range []string{"#deployments", "#lead-p50", "#lead-p90", "#commits"} {
		b.waitText(figure, "–") // not 0: that would be a claim
	}
	b.screenshot("condensing")
	s.condense()
	b.waitText("#deployments", "3")
	b.wait(`!document.querySelector(".notice")`)

	// A range without activity.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("input[value='4w']").click()`))
	b.waitText("#deployments", "2")
	s.exec(`UPDATE deployments SET finished_at = finished_at - interval '2 years'`)
	s.exec(`UPDATE commits SET authored_at = authored_at - interval '2 years'`)
	s.exec(`DELETE FROM rollup_deployments`)
	s.exec(`DELETE FROM rollup_samples`)
	s.exec(`DELETE FROM rollup_commits`)
	s.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT 'deployments', environment_id, (finished_at AT TIME ZONE '` + zone + `')::date FROM deployments
		UNION SELECT 'commits', repository_id, (authored_at AT TIME ZONE '` + zone + `')::date FROM commits`)
	s.condense()
	b.do(chromedp.Reload())
	b.waitText(".holds-chart", "No activity in this range")
	b.screenshot("silent")
	b.do(chromedp.Click(chromedp.CSS(".holds-chart button")))
	b.waitText("#deployments", "3")
	b.expectQuiet(unauthorized)
}

func TestAccountsAreMadeInThePage(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.do(chromedp.Navigate(s.url))
	b.wait(`document.querySelector("#password")`)
	b.screenshot("sign-in")
	b.do(
		chromedp.SendKeys(chromedp.CSS("#email"), email),
		chromedp.SendKeys(chromedp.CSS("#password"), "not the password"),
	)
	b.submit()
	b.wait(`document.querySelector(".wrong").textContent !== ""`)
	b.press("Create an account")
	b.wait(`document.querySelector("#team")`)
	if kept := eval[string](b.tab, `document.querySelector("#email").value`); kept != email {
		t.Errorf("the address that was typed is %q", kept)
	}
	b.do(
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#email").value = ""`),
		chromedp.SendKeys(chromedp.CSS("#name"), "Grace Example"),
		chromedp.SendKeys(chromedp.CSS("#team"), "Herons"),
		chromedp.SendKeys(chromedp.CSS("#email"), "grace@example.org"),
		chromedp.SendKeys(chromedp.CSS("#password"), password+" again"),
	)
	b.submit()
	b.waitText(".who", "Grace Example")
	b.waitText("main", "Nothing to show yet")
	b.expectQuiet(unauthorized)
}

// An account that was opened while its answer was lost is the one that its owner
// is signed in to, and not one that somebody else has.
func TestALostAnswerToARegistrationIsMadeUpFor(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.do(chromedp.Navigate(s.url))
	b.press("Create an account")
	b.wait(`document.querySelector("#team")`)
	lost := false
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/register" && !lost {
			lost = true
			next.ServeHTTP(httptest.NewRecorder(), r)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(
		chromedp.SendKeys(chromedp.CSS("#name"), "Grace Example"),
		chromedp.SendKeys(chromedp.CSS("#team"), "Herons"),
		chromedp.SendKeys(chromedp.CSS("#email"), "grace@example.org"),
		chromedp.SendKeys(chromedp.CSS("#password"), password+" again"),
	)
	b.submit()
	b.waitText(".who", "Grace Example")
	b.expectQuiet(unauthorized, "status of 502", "status of 409")
}

// Whatever a browser does with its tabs, nobody is signed out.
func TestReloadsStaySignedIn(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	tabs := []tab{b.tab, b.newTab(), b.newTab()}
	for _, p := range tabs {
		p.do(chromedp.Navigate(s.url))
	}
	s.answers("")
	// A reload is over when the page has loaded, which is before its refresh is
	// answered: the next one cuts that off.
	var reloads errgroup.Group
	for _, p := range tabs {
		reloads.Go(func() error {
			return chromedp.Do(p.ctx, chromedp.Reload(), chromedp.Reload(), chromedp.Reload(), chromedp.Reload())
		})
	}
	if err := reloads.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range tabs {
		p.waitText(".who", "Ada Example")
		p.expectQuiet(unauthorized)
	}
	if n := s.answers("POST /api/auth/refresh 401"); n != 0 {
		t.Errorf("%d of the refreshes were refused", n)
	}
	if stored := eval[string](b.tab, `JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])`); strings.Contains(stored, "ey") {
		t.Errorf("a token is stored: %s", stored)
	}
}

// A tab that waited for another one's refresh takes the token it was given.
func TestTabsRefreshOnce(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	b.signIn(s.url)
	other := b.newTab()
	other.do(chromedp.Navigate(s.url))
	for _, p := range []tab{b.tab, other} {
		p.waitText("#deployments", "3")
	}
	s.answers("")
	bothWant := make(chan struct{})
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/refresh" {
			<-bothWant
		}
		next.ServeHTTP(w, r)
	})
	for _, p := range []tab{b.tab, other} {
		p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`Date.now = () => %d; document.querySelector("input[value='6m']").click()`, time.Now().Add(time.Hour).UnixMilli())))
	}
	b.wait(`navigator.locks.query().then((locks) => locks.held.length === 1 && locks.pending.length === 1)`)
	close(bothWant)
	for _, p := range []tab{b.tab, other} {
		p.wait(`document.querySelector(".cards").textContent.match(/of 18[0-9] days/)`)
	}
	if n := s.answers("POST /api/auth/refresh 200"); n != 1 {
		t.Errorf("two tabs refreshed %d times, want once", n)
	}
}

func TestSignOutEndsAllTabs(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	other := b.newTab()
	other.do(chromedp.Navigate(s.url))
	other.waitText(".who", "Ada Example")
	b.do(chromedp.Click(chromedp.CSS(".who button")))
	b.waitText("h1", "Sign in")
	other.waitText("h1", "Sign in")
	other.do(chromedp.Reload())
	other.waitText("h1", "Sign in")
	b.expectQuiet(unauthorized)
}

// A dependency that is away signs nobody out, and is forgotten once it is back.
func TestOutagesSignNobodyOut(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	b.signIn(s.url)

	away := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":503,"code":"unavailable","detail":"The service cannot reach the database at the moment."}`)
	}
	failures := 2
	var mu sync.Mutex
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/api/auth/refresh" && failures > 0 {
			failures--
			away(w)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(chromedp.Reload())
	b.waitText("#deployments", "3")

	// Longer than the page is patient: it says so, and goes on trying.
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			away(w)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(chromedp.Reload())
	b.waitText("main", "You are still signed in")
	b.waitText("main", "cannot reach the database")
	b.screenshot("away")
	s.between(nil)
	b.do(chromedp.Click(chromedp.CSS("main button")))
	b.waitText("#deployments", "3")

	// One answer fails for good: the rest of the page stays, and it can be asked again.
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/change-lead-time") {
			away(w)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(chromedp.Reload())
	b.waitText(".notice.bad", "cannot reach the database")
	b.waitText("#deployments", "3")
	s.between(nil)
	b.do(chromedp.Click(chromedp.CSS(".notice.bad button")))
	b.waitText("#lead-p50", "2 h 30 min")
	b.expectQuiet(unauthorized, "status of 503")
}

// The rules of a client of the refresh route: an answer that was overtaken is
// asked for again, and so is one for a token that was refused before its time.
func TestClientRules(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	b.signIn(s.url)
	b.do(chromedp.Reload())
	b.waitText("#deployments", "3") // by now the generation is above 0

	overtaken := true
	var mu sync.Mutex
	s.answers("")
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/api/auth/refresh" || !overtaken {
			next.ServeHTTP(w, r)
			return
		}
		overtaken = false
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var tokens m
		if err := json.Unmarshal(answer.Body.Bytes(), &tokens); err != nil {
			t.Error(err)
		}
		tokens["gen"] = 0
		w.Header()["Set-Cookie"] = answer.Header()["Set-Cookie"]
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, quoted(tokens))
	})
	b.do(chromedp.Reload())
	b.waitText("#deployments", "3")
	if n := s.answers("POST /api/auth/refresh 200"); n != 2 {
		t.Errorf("%d refreshes after an answer that was overtaken, want 2", n)
	}

	refused := true
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/deployment-frequency") && refused {
			refused = false
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("input[value='6m']").click()`))
	b.wait(`document.querySelector(".cards").textContent.match(/of 18[0-9] days/)`)
	if n := s.answers("POST /api/auth/refresh 200"); n != 1 {
		t.Errorf("%d refreshes after a token was refused, want 1", n)
	}

	// A session that was ended elsewhere ends here at the next question.
	s.between(nil)
	s.exec(`UPDATE sessions SET revoked_at = now(), revoke_reason = 'test'`)
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`Date.now = () => %d; document.querySelector("input[value='4w']").click()`, time.Now().Add(time.Hour).UnixMilli())))
	b.waitText("h1", "Sign in")
	b.expectQuiet(unauthorized)
}

func TestDocumentationIsShown(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.view(1280, 900, "light")
	b.do(chromedp.Navigate(s.url + "/api/docs"))
	b.waitText("main", "/api/auth/login")
	var document struct {
		Paths map[string]map[string]struct{ OperationID string } `json:"paths"`
	}
	if err := json.Unmarshal(body(t, get(t, "GET", "/api/openapi.json")), &document); err != nil {
		t.Fatal(err)
	}
	for path, operations := range document.Paths {
		for _, operation := range operations {
			if !eval[bool](b.tab, fmt.Sprintf(`!!document.getElementById(%q)?.textContent.includes(%q)`, operation.OperationID, path)) {
				t.Errorf("%s is not shown", path)
			}
		}
	}
	b.screenshot("docs-light")
	b.view(390, 844, "dark")
	if wide := eval[int](b.tab, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("on a phone the page is %d pixels wide", wide)
	}
	b.screenshot("docs-phone-dark")
	b.do(chromedp.SendKeys(chromedp.CSS("#wanted"), "refresh"))
	b.wait(`document.querySelectorAll("article").length === 1`)
	b.expectQuiet()
}
