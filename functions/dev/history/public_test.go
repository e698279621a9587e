package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

var update = flag.Bool("update", false, "rewrite testdata/histories.md from DASHBOARD_HISTORIES")

const figuresHeader = `# Figures of public histories

Written by TestPublicHistories with -update. For each history: what was imported,
and its lead times in seconds as percentile_cont gives them, of changes whose lead
time is not negative. Histories grow; the commit of the newest tag says up to where
these were read. Tags, times and changes, and so all figures, were equal to git's.

| history | newest tag | at | commits | deployments | changes | excluded | p50 | p90 |
|---|---|---|---|---|---|---|---|---|
`

// golden are changes that were worked out by hand from public histories: lead
// times for a tag, or the commits that it brought.
var golden = []struct {
	history, tag string
	leads        []int64
	shas         []string
}{
	{history: "functions-framework-go", tag: "v0.3.0", leads: []int64{0, 100511, 104057}},
	{history: "functions-framework-go", tag: "v1.0.1", leads: []int64{0, 9338, 2424920}},
	{history: "deploy-cloudrun", tag: "v3.0.1", shas: []string{"2028e2d", "41b25ce"}},
}

// TestPublicHistories imports real histories, and compares with what git tells of
// them and with figures that were worked out by hand.
func TestPublicHistories(t *testing.T) {
	t.Parallel()
	paths := filepath.SplitList(os.Getenv("DASHBOARD_HISTORIES"))
	if len(paths) == 0 {
		t.Skip("set DASHBOARD_HISTORIES to a list of clones of public repositories, for example of functions-framework-go")
	}
	url := pgtest.URL(t)
	db := postgres.Over(openPool(t, url))
	var table strings.Builder
	for _, path := range paths {
		name := historyName(path)
		result := importOf(t, db, newTeam(t, db, "UTC"), open(t, path))
		releases := releasesOf(&repo{t: t, dir: path})
		checkFigures(t, db, url, name, result.Environment, releases)
		t.Logf("%s: %d releases as git tells them; %+v", name, len(releases), result)
		checkGolden(t, name, releases)
		table.WriteString(figures(t, db, name, result, releases))
	}
	if *update {
		if err := os.WriteFile("testdata/histories.md", []byte(figuresHeader+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	known, err := os.ReadFile("testdata/histories.md")
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(table.String()) {
		// A clone that has grown since has other figures.
		if cells := strings.SplitAfterN(row, "|", 5); bytes.Contains(known, []byte(strings.Join(cells[:4], ""))) && !bytes.Contains(known, []byte(row)) {
			t.Errorf("other figures than before: %s", row)
		}
	}
}

// historyName is the last part of the path that tells something: snapshots are
// called OWNER+NAME/repo, clones NAME or NAME.git.
func historyName(path string) string {
	name := filepath.Base(path)
	if name == "repo" || name == ".git" {
		name = filepath.Base(filepath.Dir(path))
	}
	return strings.TrimSuffix(name[strings.LastIndex(name, "+")+1:], ".git")
}

// TestFiguresAreThoseThatGitTells has what real histories have, in small: two
// lines of releases, a merge, tags that say when they were made and tags that do
// not, two tags of one second, and tags that are no release.
func TestFiguresAreThoseThatGitTells(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	const day = 86_400
	at := func(n int64, parents ...int) planned {
		return planned{author: "Ada", subject: "Work", authored: base + n*day, committed: base + n*day + 600, parents: parents}
	}
	// 0 - 1 - 3 ----- 5 - 6 - 8   main
	//      \   \- 4 -/
	//       2 ------- 7           v1
	plan := []planned{at(0), at(1, 0), at(2, 1), at(3, 1), at(4, 3), at(5, 3, 4), at(6, 5), at(7, 2), at(30, 6)} // the last one's clock is ahead
	r.fastImport(stream(plan, 0))
	r.setRefs(map[string]int{"main": 8, "v1": 7}, map[string]planTag{
		"v1.0.0": {commit: 1},
		"v2.0.0": {commit: 5, annotated: true, at: base + 6*day},
		"v1.0.1": {commit: 7},
		// The ancestor has the name that comes last.
		"v3.0.0": {commit: 6, annotated: true, at: base + 9*day}, "v2.9.0": {commit: 8, annotated: true, at: base + 9*day},
		"v2.0.0-rc.1": {commit: 3}, "latest": {commit: 8},
	})
	sha := func(n int) string { return r.git("rev-parse", fmt.Sprintf("refs/kept/%d", n))[0] }
	releases := releasesOf(r)
	want := []release{
		{Name: "v1.0.0", SHA: sha(1), At: base + day + 600, Baseline: true},
		{Name: "v2.0.0", SHA: sha(5), At: base + 6*day, Leads: map[string]int64{sha(3): 3 * day, sha(4): 2 * day}},
		{Name: "v1.0.1", SHA: sha(7), At: base + 7*day + 600, Leads: map[string]int64{sha(2): 5*day + 600, sha(7): 600}},
		{Name: "v3.0.0", SHA: sha(6), At: base + 9*day, Leads: map[string]int64{sha(6): 3 * day}},
		{Name: "v2.9.0", SHA: sha(8), At: base + 9*day, Leads: map[string]int64{sha(8): -21 * day}},
	}
	if diff := cmp.Diff(want, releases); diff != "" {
		t.Fatalf("git's releases, by hand against asked:\n%s", diff)
	}
	url := pgtest.URL(t)
	db := postgres.Over(openPool(t, url))
	result := importOf(t, db, newTeam(t, db, "UTC"), open(t, r.dir))
	checkFigures(t, db, url, "widgets", result.Environment, releases)

	// What an import could get wrong does not pass.
	undo := errors.New("undo")
	for what, sql := range map[string]string{
		"a tag is dropped":         `DELETE FROM deployments WHERE ref = 'v1.0.1'`,
		"the last tag is dropped":  `DELETE FROM deployments WHERE ref = 'v2.9.0'`,
		"a tag is mistimed":        `UPDATE deployments SET finished_at = finished_at + interval '1 s' WHERE ref = 'v2.0.0'`,
		"tags are misordered":      `UPDATE deployment_changes SET deployment_id = (SELECT id FROM deployments WHERE ref = 'v2.9.0') WHERE deployment_id = (SELECT id FROM deployments WHERE ref = 'v3.0.0')`,
		"another one is the first": `UPDATE deployments SET baseline = ref = 'v2.0.0'`,
		"a lead time is off":       `UPDATE deployment_changes SET lead_seconds = lead_seconds + 1 WHERE lead_seconds = 600`,
		"a merge is a change":      `INSERT INTO deployment_changes SELECT id, environment_id, sha, 0 FROM deployments WHERE ref = 'v2.0.0'`,
	} {
		err := db.Transaction(context.Background(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(context.Background(), sql); err != nil {
				return err
			}
			if differences(t, tx, result.Environment, releases) == "" {
				t.Errorf("passes: %s", what)
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
	}
}

// checkFigures compares releases as git tells them with what is stored, with what
// rollup makes of it, and the percentiles of the lead times of both.
func checkFigures(t *testing.T, db *postgres.Database, url, name string, environment uuid.UUID, releases []release) {
	t.Helper()
	if diff := differences(t, db, environment, releases); diff != "" {
		t.Errorf("%s: deployments, git's against ours:\n%s", name, diff)
	}
	condense(t, url)
	if diff := cmp.Diff(daysOf(releases), rolledDays(t, db, environment), equateEmpty); diff != "" {
		t.Errorf("%s: days, git's against rollup's:\n%s", name, diff)
	}
	var stored []float64
	err := db.QueryRow(context.Background(), `
		SELECT percentile_cont(ARRAY[0.5, 0.75, 0.9, 0.95]) WITHIN GROUP (ORDER BY lead_seconds) FROM deployment_changes
		WHERE environment_id = $1 AND lead_seconds BETWEEN 0 AND $2`, environment, sample.Longest).Scan(&stored)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(percentiles(t, db, samplesOf(releases)), stored); diff != "" {
		t.Errorf("%s: p50, p75, p90 and p95, of git's samples against ours:\n%s", name, diff)
	}
}

// condense has rollup compute every day that an import marked.
func condense(t *testing.T, url string) {
	t.Helper()
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { return url, name == "DATABASE_URL" })
	handler, err := function.Handler(env, rollup.Function)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = env.Stop(context.Background()) }()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/rollup/condense", nil))
	var done rollup.Condensation
	if err := json.Unmarshal(answer.Body.Bytes(), &done); err != nil || answer.Code != http.StatusOK || done.Left > 0 {
		t.Fatalf("condense: %d %s %v", answer.Code, answer.Body, err)
	}
}

func checkGolden(t *testing.T, name string, releases []release) {
	t.Helper()
	for _, want := range golden {
		i := slices.IndexFunc(releases, func(one release) bool { return one.Name == want.tag })
		if want.history != name {
			continue
		}
		if i < 0 {
			t.Errorf("%s has no %s", name, want.tag)
			continue
		}
		leads := slices.Sorted(maps.Values(releases[i].Leads))
		var shas []string
		for sha := range releases[i].Leads {
			shas = append(shas, sha[:7])
		}
		slices.Sort(shas)
		if want.leads != nil && !slices.Equal(leads, want.leads) || want.shas != nil && !slices.Equal(shas, want.shas) {
			t.Errorf("%s %s: leads %v, commits %v, want %v %v", name, want.tag, leads, shas, want.leads, want.shas)
		}
	}
}

// figures returns a line of the table.
func figures(t *testing.T, db postgres.DB, name string, result history.Result, releases []release) string {
	t.Helper()
	newest, changes := releases[len(releases)-1], 0
	for _, one := range releases {
		changes += len(one.Leads)
	}
	samples := samplesOf(releases)
	p := percentiles(t, db, samples)
	return fmt.Sprintf("| %s | %s | %s | %d | %d | %d | %d | %.1f | %.1f |\n",
		name, newest.Name, newest.SHA[:10], result.Commits, len(releases), changes, changes-len(samples), p[0], p[2])
}
