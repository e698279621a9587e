package history_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// told is a history that a test tells commit by commit.
type told struct {
	refs    history.Refs
	commits []history.Commit
	err     error // at the end of the log
	counted int
	refsErr error
}

func (s *told) Origin() history.Origin {
	return history.Origin{Source: "git", ExternalID: "/told", Name: "told"}
}

func (s *told) Refs(context.Context) (history.Refs, error) { return s.refs, s.refsErr }

func (s *told) Count(context.Context, [][]byte) (int, error) {
	s.counted++
	return len(s.commits), nil
}

func (s *told) Log(context.Context, [][]byte) iter.Seq2[*history.Commit, error] {
	return func(yield func(*history.Commit, error) bool) {
		for i := range s.commits {
			if !yield(&s.commits[i], nil) {
				return
			}
		}
		if s.err != nil {
			yield(nil, s.err)
		}
	}
}

// sha returns the n. sha.
func sha(n int) []byte {
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)*0x9e3779b97f4a7c15) // spread, as hashes are
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	return b[:]
}

// tell returns a history of n commits in one line, a minute apart.
func tell(n int) *told {
	s := &told{}
	for i := n; i >= 1; i-- {
		at := time.Unix(base+int64(i)*60, 0)
		c := history.Commit{SHA: sha(i), Author: history.Author{Name: "Ada", Email: "ada@widgets.example"}, Authored: at, Committed: at, Subject: "Told"}
		if i > 1 {
			c.Parents = [][]byte{sha(i - 1)}
		}
		s.commits = append(s.commits, c)
	}
	if n > 0 {
		s.refs = history.Refs{Tips: [][]byte{sha(n)}, Main: sha(n)}
	}
	return s
}

func newDB(t *testing.T) *postgres.Database {
	t.Helper()
	return postgres.Over(pgtest.Pool(t))
}

// TestParallelReleaseLines has a mend of an old line released between two
// releases of a new one, as real projects do.
func TestParallelReleaseLines(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	day := int64(86_400)
	at := func(n int64, parents ...int) planned {
		return planned{author: "Ada", subject: "Work", authored: base + n*day, committed: base + n*day, parents: parents}
	}
	// 0 - 1 ----- 3 - 4 - 6   v3 line
	//      \- 2 ------ 5      v2 line
	r.fastImport(stream([]planned{at(0), at(1, 0), at(2, 1), at(3, 1), at(4, 3), at(5, 2), at(6, 4)}, 0))
	r.setRefs(map[string]int{"main": 6}, map[string]planTag{
		"v2.7.5": {commit: 1}, "v3.0.0": {commit: 4}, "v2.7.6": {commit: 5}, "v3.0.1": {commit: 6, annotated: true, at: base + 7*day},
	})
	db := newDB(t)
	result := importOf(t, db, newTeam(t, db, "UTC"), open(t, r.dir))
	kept := func(n int) string { return r.git("rev-parse", fmt.Sprintf("refs/kept/%d", n))[0] }
	got := changesByRef(t, db, result.Environment)
	for name, want := range map[string][]int{"v2.7.5": {}, "v3.0.0": {3, 4}, "v2.7.6": {2, 5}, "v3.0.1": {6}} {
		var shas []string
		for _, n := range want {
			shas = append(shas, kept(n))
		}
		if diff := cmp.Diff(shas, got[name], equateEmpty, sorted); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	leads := column(t, db, `
		SELECT d.ref || ' ' || c.lead_seconds / 86400 FROM deployment_changes c JOIN deployments d ON d.id = c.deployment_id ORDER BY 1`)
	if diff := cmp.Diff([]string{"v2.7.6 0", "v2.7.6 3", "v3.0.0 0", "v3.0.0 1", "v3.0.1 1"}, leads); diff != "" {
		t.Error(diff)
	}
	if baselines := column(t, db, `SELECT ref FROM deployments WHERE baseline`); len(baselines) != 1 || baselines[0] != "v2.7.5" {
		t.Errorf("baselines: %v", baselines)
	}
}

// TestWithoutVersionsEachCommitOfTheMainLineIsDeployed also moves on to tags.
func TestWithoutVersionsEachCommitOfTheMainLineIsDeployed(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	at := func(n int64, parents ...int) planned {
		return planned{author: "Ada", subject: "Work", authored: base + n*60, committed: base + n*60 + 30, parents: parents}
	}
	// 0 - 1 ----- 4   main
	//      \ 2-3 /
	r.fastImport(stream([]planned{at(0), at(1, 0), at(2, 1), at(3, 2), at(4, 1, 3)}, 0))
	r.setRefs(map[string]int{"main": 4}, map[string]planTag{"nightly": {commit: 3}})
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	result := importOf(t, db, team, open(t, r.dir))
	if result.DeployedBy != history.ByCommit || result.Deployments != 3 || result.Changes != 3 || result.Commits != 5 || result.Skipped.OtherTags != 1 {
		t.Errorf("imported %+v", result)
	}
	main := r.git("rev-list", "--first-parent", "--reverse", "main")
	got := column(t, db, `
		SELECT d.external_id || ' ' || d.ref || ' ' || count(c.sha) || ' ' || extract(epoch FROM d.finished_at)::bigint
		FROM deployments d LEFT JOIN deployment_changes c ON c.deployment_id = d.id GROUP BY d.id ORDER BY d.finished_at`)
	want := []string{
		fmt.Sprintf("%s %s 0 %d", main[0], main[0][:10], base+30),
		fmt.Sprintf("%s %s 1 %d", main[1], main[1][:10], base+90),
		fmt.Sprintf("%s %s 2 %d", main[2], main[2][:10], base+270),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.setRefs(map[string]int{"main": 4}, map[string]planTag{"v1.0": {commit: 1}})
	later := importOf(t, db, team, open(t, r.dir))
	if later.DeployedBy != history.ByTag || later.Service != result.Service || later.Deployments != 1 || later.Commits != 0 {
		t.Errorf("with a tag: %+v", later)
	}
	if left := column(t, db, `SELECT ref FROM deployments`); len(left) != 1 {
		t.Errorf("deployments: %v", left)
	}
}

// TestDaysAreLocal marks the days of a team far in the east: of a few commits just
// theirs, of many the whole stretch and a day more at each end.
func TestDaysAreLocal(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, test := range []struct {
		zone      string
		few, many string
	}{
		{"UTC", "2020-09-13", "2020-09-12 2020-09-13 2020-09-14"},
		{"Asia/Shanghai", "2020-09-13 2020-09-14", "2020-09-12 2020-09-13 2020-09-14 2020-09-15"},
		{"Pacific/Auckland", "2020-09-14", "2020-09-13 2020-09-14 2020-09-15"},
	} {
		for n, want := range map[int]string{21: test.few, 121: test.many} {
			s := tell(n)
			for i := range s.commits { // from 14:56:40 to 16:56:40 UTC
				s.commits[i].Authored = time.Unix(base, 0).Add(150*time.Minute + time.Duration(i)*2*time.Hour/time.Duration(n-1))
			}
			result := importOf(t, db, newTeam(t, db, test.zone), s)
			got := column(t, db, `SELECT day::text FROM dirty_days WHERE scope = $1 AND rollup = 'commits' ORDER BY 1`, result.Repository)
			if joined := strings.Join(got, " "); joined != want {
				t.Errorf("%d in %s: %s, want %s", n, test.zone, joined, want)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	short := tell(5_000)
	var reports []history.Progress
	if _, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), short, func(p history.Progress) { reports = append(reports, p) }); err != nil {
		t.Fatal(err)
	}
	if want := []history.Progress{{Done: 4096}, {Done: 5000}}; !cmp.Equal(want, reports) || short.counted != 0 {
		t.Errorf("short import: %v, counted %d times", reports, short.counted)
	}
	long := tell(90_000)
	long.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(1)}}
	reports = nil
	if _, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), long, func(p history.Progress) { reports = append(reports, p) }); err != nil {
		t.Fatal(err)
	}
	if last := reports[len(reports)-1]; last != (history.Progress{Done: 90_000, Total: 90_000}) || long.counted != 1 || len(reports) != 22 {
		t.Errorf("long import: %d reports, the last %v, counted %d times", len(reports), last, long.counted)
	}
	unseen := tell(90_000)
	if _, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), unseen, nil); err != nil || unseen.counted != 0 {
		t.Errorf("with nobody looking: %v, counted %d times", err, unseen.counted)
	}
}

// TestWhatDecidesIsNoticed changes one thing at a time that facts follow from,
// and leaves all commits as they are.
func TestWhatDecidesIsNoticed(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	s := tell(5)
	importOf(t, db, team, s)
	for _, change := range []func(){
		func() { s.refs.Main = sha(4) },
		func() { s.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(2), At: time.Unix(base, 0)}} },
		func() { s.refs.Versions[0].At = time.Unix(base+1, 0) },
		func() { s.refs.Versions[0].SHA = sha(3) },
		func() { s.refs.Versions[0].Name = "v1.1" },
	} {
		change()
		importOf(t, db, team, s)
		fresh := newTeam(t, db, "UTC")
		importOf(t, db, fresh, s)
		if diff := cmp.Diff(facts(t, db, fresh), facts(t, db, team)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestMovedReleaseKeepsItsID so that links to it stay good.
func TestMovedReleaseKeepsItsID(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	s := tell(10)
	s.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(2), At: time.Unix(base, 0)}, {Name: "v1.1", SHA: sha(5), At: time.Unix(base+1000, 0)}}
	importOf(t, db, team, s)
	before := column(t, db, `SELECT ref || id FROM deployments ORDER BY 1`)
	s.refs.Versions[1].SHA = sha(6)
	result := importOf(t, db, team, s)
	if diff := cmp.Diff(before, column(t, db, `SELECT ref || id FROM deployments ORDER BY 1`)); diff != "" {
		t.Error(diff)
	}
	if result.Deployments != 1 || result.Changes != 1 || result.Commits != 0 {
		t.Errorf("moved: %+v", result)
	}
}

func TestTagWithoutATimeIsAsOldAsItsCommit(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	s := tell(3)
	s.commits[0].Authored = s.commits[0].Authored.Add(-time.Hour)
	s.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(3)}}
	importOf(t, db, newTeam(t, db, "UTC"), s)
	if at := column(t, db, `SELECT extract(epoch FROM finished_at)::bigint::text FROM deployments`); at[0] != fmt.Sprint(base+180) {
		t.Errorf("deployed at %v", at)
	}
}

func TestRenamedRepositoryKeepsItsService(t *testing.T) {
	t.Parallel()
	r := lineRepo(t)
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	before := importOf(t, db, team, open(t, r.dir))
	r.git("config", "remote.origin.url", "https://host.example/sprockets.git")
	after := importOf(t, db, team, open(t, r.dir))
	if after.Name != "sprockets" || after.Unchanged || after.Service != before.Service || after.Repository != before.Repository || after.Environment != before.Environment {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestOtherTeamsAreLeftAlone(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	one, two := newTeam(t, db, "UTC"), newTeam(t, db, "UTC")
	a, b := importOf(t, db, one, tell(20)), importOf(t, db, two, tell(20))
	if a.Repository == b.Repository || a.Service == b.Service {
		t.Errorf("shared: %+v %+v", a, b)
	}
	before := facts(t, db, two)
	importOf(t, db, one, tell(3))
	if diff := cmp.Diff(before, facts(t, db, two)); diff != "" {
		t.Error(diff)
	}
}

// TestFactsGoWithTheirTeam tries the triggers that stand for foreign keys.
// What was reported is no history's to remove, also while it is running.
func TestReportsAreLeftAlone(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	environment := importOf(t, db, team, tell(3)).Environment
	_, err := db.Exec(t.Context(), `
		INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at)
		VALUES ($1, 'report:1', 'reported', $2, 'success', now()), ($1, 'report:2', 'reported', $2, 'running', NULL), ($1, 'gone', 'gone', $2, 'success', now())`, environment, sha(1))
	if err != nil {
		t.Fatal(err)
	}
	importOf(t, db, team, tell(4))
	if left := column(t, db, `SELECT external_id FROM deployments WHERE ref IN ('reported', 'gone') ORDER BY 1`); !cmp.Equal([]string{"report:1", "report:2"}, left) {
		t.Errorf("left are %v", left)
	}
}

func TestFactsGoWithTheirTeam(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	gone, stays := newTeam(t, db, "UTC"), newTeam(t, db, "UTC")
	importOf(t, db, gone, tell(20))
	importOf(t, db, stays, tell(20))
	if _, err := db.Exec(context.Background(), `DELETE FROM teams WHERE id = $1`, gone); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]string{"commits": "20", "deployments": "20", "deployment_changes": "19", "authors": "1"} {
		if got := column(t, db, `SELECT count(*)::text FROM `+table); got[0] != want {
			t.Errorf("%s: %s rows, want %s", table, got[0], want)
		}
	}
}

func TestImportsOfOneRepositoryTakeTurns(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	var group sync.WaitGroup
	results := make([]history.Result, 4)
	for i := range results {
		group.Go(func() {
			var err error
			if results[i], err = history.Import(context.Background(), db, team, tell(3_000), nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wrote := 0
	for _, r := range results {
		wrote += r.Commits
		if r.Repository != results[0].Repository || r.Service != results[0].Service || r.Environment != results[0].Environment {
			t.Errorf("%+v and %+v", r, results[0])
		}
	}
	if wrote != 3_000 {
		t.Errorf("%d commits written", wrote)
	}
}

// TestChangeOfZoneComesBeforeOrAfter holds a change of the team's zone back until
// the import waits for it, longer than the pool lets a statement wait.
func TestChangeOfZoneComesBeforeOrAfter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := pgtest.URL(t)
	db := postgres.Over(openPool(t, url))
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["lock_timeout"] = "1"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	impatient := postgres.Over(pool)
	team := newTeam(t, db, "UTC")
	done := make(chan error, 1)
	err = db.Transaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE teams SET time_zone = 'Pacific/Auckland' WHERE id = $1`, team); err != nil {
			return err
		}
		go func() {
			_, err := history.Import(ctx, impatient, team, tell(2), nil)
			done <- err
		}()
		for {
			waiting := column(t, db, `SELECT 'yes' FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '50 ms'`)
			if len(waiting) > 0 {
				return nil
			}
			select {
			case err := <-done:
				return fmt.Errorf("the import did not wait: %v", err)
			default:
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if days := column(t, db, `SELECT DISTINCT day::text FROM dirty_days`); len(days) != 1 || days[0] != "2020-09-14" {
		t.Errorf("marked %v", days)
	}
}

func TestUnchangedIsOneQuery(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	db := postgres.Over(openPool(t, url))
	team := newTeam(t, db, "UTC")
	importOf(t, db, team, tell(20))
	var queries int
	counted := openTracedPool(t, url, func() { queries++ })
	if result := importOf(t, postgres.Over(counted), team, tell(20)); !result.Unchanged || queries != 1 {
		t.Errorf("%d queries: %+v", queries, result)
	}
}

// TestEveryBreakLeavesAllOrNothing ends the connection at each step.
func TestEveryBreakLeavesAllOrNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	db := postgres.Over(openPool(t, url))
	first, second := tell(30), tell(20)
	first.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(2)}, {Name: "v1.1", SHA: sha(9)}, {Name: "v1.2", SHA: sha(12)}}
	second.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(3)}, {Name: "v1.1", SHA: sha(8)}, {Name: "v1.3", SHA: sha(14)}}
	second.commits[0].Author.Name = "Grace"
	second.commits[0].SHA = sha(500)
	second.refs.Tips, second.refs.Main = [][]byte{sha(500)}, sha(500)
	wanted := map[string]map[string][]string{}
	for name, s := range map[string]*told{"first": first, "second": second} {
		team := newTeam(t, db, "UTC")
		importOf(t, db, team, s)
		wanted[name] = facts(t, db, team)
	}
	team := newTeam(t, db, "UTC")
	empty := facts(t, db, team)
	for _, step := range []struct {
		source        *told
		before, after map[string][]string
	}{{first, empty, wanted["first"]}, {second, wanted["first"], wanted["second"]}} {
		pgtest.ForEveryBreak(t, url, func(broken *postgres.Database) error {
			_, err := history.Import(context.Background(), broken, team, step.source, nil)
			now := facts(t, db, team)
			if !cmp.Equal(now, step.before) && !cmp.Equal(now, step.after) {
				t.Errorf("after %v:\n%s", err, cmp.Diff(step.after, now))
			}
			if cmp.Equal(now, step.after) {
				return err
			}
			if err == nil {
				t.Error("nothing was written and no error came")
			}
			return err
		})
		if diff := cmp.Diff(step.after, facts(t, db, team)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestImportRefusals(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	other := errors.New("the disk is on fire")
	for name, test := range map[string]struct {
		change func(*told)
		says   string
	}{
		"the log fails":          {func(s *told) { s.err = other }, "on fire"},
		"refs fail":              {func(s *told) { s.refsErr = other }, "on fire"},
		"a parent is missing":    {func(s *told) { s.commits = s.commits[:4] }, "incomplete"},
		"a commit comes twice":   {func(s *told) { s.commits = append(s.commits, s.commits[0]) }, "twice"},
		"a short parent":         {func(s *told) { s.commits[0].Parents[0] = sha(1)[:19] }, "mixes"},
		"a short commit":         {func(s *told) { s.commits[3].SHA = sha(1)[:19] }, "mixes"},
		"a tag of another story": {func(s *told) { s.refs.Versions = []history.Tag{{Name: "v1.0", SHA: sha(99)}} }, "v1.0"},
		"text with NUL":          {func(s *told) { s.commits[0].Subject = "\x00" }, "0x00"},
		"an author with NUL":     {func(s *told) { s.commits[0].Author.Name = "\x00" }, "0x00"},
		"a version with NUL": {func(s *told) {
			s.refs.Versions = []history.Tag{{Name: "\x00", SHA: sha(1)}}
		}, "0x00"},
		"a sha of no hash": {func(s *told) {
			s.commits = []history.Commit{{SHA: make([]byte, 9)}}
			s.refs = history.Refs{}
		}, "check constraint"},
	} {
		s := tell(5)
		test.change(s)
		if _, err := history.Import(context.Background(), db, team, s, nil); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left := column(t, db, `SELECT name FROM repositories`); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err := history.Import(context.Background(), db, uuid.New(), tell(5), nil)
	if fault.From(err).Kind != fault.NotFound {
		t.Errorf("no such team: %v", err)
	}
}

// TestCancelledImport is told to stop while git prints and PostgreSQL stores.
func TestCancelledImport(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	team := newTeam(t, db, "UTC")
	source := open(t, makeHistory(t, 9_000, 0))
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("somebody pressed a key")
	_, err := history.Import(ctx, db, team, source, func(history.Progress) { cancel(why) })
	if err == nil {
		t.Error("a cancelled import ended well")
	}
	if left := column(t, db, `SELECT name FROM repositories`); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if result := importOf(t, db, team, source); result.Commits != 9_000 {
		t.Errorf("afterwards: %+v", result)
	}
	if _, err := source.Refs(ctx); !errors.Is(err, why) {
		t.Errorf("refs: %v", err)
	}
}

// TestMemoryDoesNotFollowMessages imports first lines of 6,000 and of 60,000
// bytes.
func TestMemoryDoesNotFollowMessages(t *testing.T) {
	db := newDB(t)
	short, long := peakHeap(t, db, makeHistory(t, 300, 6_000)), peakHeap(t, db, makeHistory(t, 300, 60_000))
	if long > short+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", short, long)
	}
}
