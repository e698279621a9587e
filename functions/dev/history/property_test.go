package history_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// base is when the histories of these tests begin, a few hours before midnight
// in some zones.
const base = 1_600_000_000

// scenario is a history in steps: each adds commits and moves refs.
type scenario []step

type step struct {
	plan     []planned // all commits so far
	branches map[string]int
	tags     map[string]planTag
}

// scenarios draws histories that grow and whose refs come, move and go.
var scenarios = rapid.Custom(func(t *rapid.T) scenario {
	var s scenario
	last := step{branches: map[string]int{}, tags: map[string]planTag{}}
	for range rapid.IntRange(1, 3).Draw(t, "steps") {
		next := step{plan: growPlan(t, last.plan), branches: maps.Clone(last.branches), tags: maps.Clone(last.tags)}
		drawRefs(t, next)
		s = append(s, next)
		last = next
	}
	return s
})

// growPlan appends a few commits to a plan: roots, lines, merges and octopus
// merges, with clocks that disagree and times that are equal.
func growPlan(t *rapid.T, plan []planned) []planned {
	plan = slices.Clip(plan)
	for range rapid.IntRange(0, 8).Draw(t, "commits") {
		var parents []int
		if len(plan) > 0 {
			parents = rapid.SliceOfNDistinct(rapid.IntRange(max(0, len(plan)-6), len(plan)-1), 0, 3, rapid.ID).Draw(t, "parents")
		}
		plan = append(plan, planned{
			parents: parents, subject: fmt.Sprintf("Commit %d", len(plan)),
			author:    rapid.SampledFrom([]string{"Ada", "Grace", "Linus"}).Draw(t, "author"),
			authored:  base + 40_000*rapid.Int64Range(0, 12).Draw(t, "authored"),
			committed: base + 40_000*rapid.Int64Range(0, 12).Draw(t, "committed"),
		})
	}
	return plan
}

// drawRefs draws branches and tags over a plan, most of them as they were.
func drawRefs(t *rapid.T, s step) {
	if len(s.plan) == 0 {
		return
	}
	commit := rapid.IntRange(0, len(s.plan)-1)
	for _, name := range []string{"main", "side"} {
		switch rapid.IntRange(0, 3).Draw(t, "branch "+name) {
		case 0:
			delete(s.branches, name)
		case 1, 2:
			s.branches[name] = commit.Draw(t, "tip")
		}
	}
	for _, name := range []string{"v1", "v1.0", "v1.1", "v1.2", "v2.0", "v2.1", "other"} {
		switch rapid.IntRange(0, 4).Draw(t, "tag "+name) {
		case 0:
			delete(s.tags, name)
		case 1, 2:
			s.tags[name] = planTag{
				commit: commit.Draw(t, "tagged"), annotated: rapid.Bool().Draw(t, "annotated"),
				at: base + 40_000*rapid.Int64Range(0, 14).Draw(t, "tag time"),
			}
		}
	}
}

// source tells a step without git.
func (s step) source() *told {
	told := &told{}
	reached := map[int]bool{}
	var reach func(int)
	reach = func(i int) {
		if reached[i] {
			return
		}
		reached[i] = true
		c := s.plan[i]
		commit := history.Commit{
			SHA: sha(i), Author: history.Author{Name: c.author, Email: c.author + "@widgets.example"},
			Authored: time.Unix(c.authored, 0), Committed: time.Unix(c.committed, 0), Subject: c.subject,
		}
		for _, p := range c.parents {
			commit.Parents = append(commit.Parents, sha(p))
			reach(p)
		}
		told.commits = append(told.commits, commit)
	}
	for name, i := range s.branches {
		told.refs.Tips = append(told.refs.Tips, sha(i))
		if name == "main" {
			told.refs.Main = sha(i)
		}
		reach(i)
	}
	for name, tag := range s.tags {
		told.refs.Tips = append(told.refs.Tips, sha(tag.commit))
		reach(tag.commit)
		if !versions.MatchString(name) {
			continue
		}
		at := tag.at
		if !tag.annotated {
			at = s.plan[tag.commit].committed
		}
		told.refs.Versions = append(told.refs.Versions, history.Tag{Name: name, SHA: sha(tag.commit), At: time.Unix(at, 0)})
	}
	return told
}

// TestImportInStepsEqualsOneImport compares the tables with those of a fresh
// import after each step, and asserts that each day is marked whose facts differ
// from the step before.
func TestImportInStepsEqualsOneImport(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	rapid.Check(t, func(t *rapid.T) {
		team := newTeam(t, db, "Asia/Shanghai")
		for _, step := range scenarios.Draw(t, "scenario") {
			playStep(t, db, team, func() history.Source { return step.source() })
		}
	})
}

// TestImportEqualsWhatGitSays plays some of the same histories with git, and asks
// it what each release newly contains.
func TestImportEqualsWhatGitSays(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for seed := range 15 {
		r := newRepo(t)
		team := newTeam(t, db, "America/St_Johns")
		begin := 0
		for _, step := range scenarios.Example(seed) {
			r.fastImport(stream(step.plan, begin))
			r.setRefs(step.branches, step.tags)
			begin = len(step.plan)
			result := playStep(t, db, team, func() history.Source { return open(t, r.dir) })
			checkAgainstGit(t, db, r, result.Environment)
		}
	}
}

// playStep imports what source gives now, for a team that has the steps before.
func playStep(t tb, db *postgres.Database, team uuid.UUID, source func() history.Source) history.Result {
	t.Helper()
	before := days(t, db, team)
	clearMarks(t, db)
	result := importOf(t, db, team, source())
	checkMarks(t, db, result, before, days(t, db, team))

	fresh := newTeam(t, db, "Asia/Shanghai")
	importOf(t, db, fresh, source())
	if diff := cmp.Diff(facts(t, db, fresh), facts(t, db, team)); diff != "" {
		t.Fatalf("imported at once, against in steps:\n%s", diff)
	}
	again := importOf(t, db, team, source())
	if !again.Unchanged || again.Environment != result.Environment || again.DeployedBy != result.DeployedBy {
		t.Fatalf("imported again: %+v after %+v", again, result)
	}
	return result
}

// days returns the facts of each (rollup, scope, local day), as one text each.
func days(t tb, db postgres.DB, team uuid.UUID) map[string]string {
	t.Helper()
	list := column(t, db, `
		SELECT 'commits ' || r.id || ' ' || (c.authored_at AT TIME ZONE t.time_zone)::date || '=' || string_agg(c.sha::text, ',' ORDER BY c.sha)
		FROM commits c JOIN repositories r ON r.id = c.repository_id JOIN teams t ON t.id = r.team_id
		WHERE t.id = $1 AND c.parents < 2 GROUP BY r.id, (c.authored_at AT TIME ZONE t.time_zone)::date
		UNION ALL
		SELECT 'deployments ' || e.id || ' ' || (d.finished_at AT TIME ZONE t.time_zone)::date || '=' || string_agg(concat_ws(' ', d.id, d.sha, d.baseline, c.sha, c.lead_seconds), ',' ORDER BY d.id, c.sha)
		FROM deployments d JOIN environments e ON e.id = d.environment_id JOIN services s ON s.id = e.service_id
		JOIN repositories r ON r.id = s.repository_id JOIN teams t ON t.id = r.team_id
		LEFT JOIN deployment_changes c ON c.deployment_id = d.id
		WHERE t.id = $1 GROUP BY e.id, (d.finished_at AT TIME ZONE t.time_zone)::date`, team)
	byDay := map[string]string{}
	for _, line := range list {
		at := slices.Index([]byte(line), '=')
		byDay[line[:at]] = line[at:]
	}
	return byDay
}

func clearMarks(t tb, db postgres.DB) {
	t.Helper()
	if _, err := db.Exec(context.Background(), `DELETE FROM dirty_days`); err != nil {
		t.Fatalf("%v", err)
	}
}

// checkMarks asserts that every day whose facts differ is marked, once.
func checkMarks(t tb, db postgres.DB, result history.Result, before, after map[string]string) {
	t.Helper()
	marked := column(t, db, `SELECT rollup || ' ' || scope || ' ' || day FROM dirty_days ORDER BY 1`)
	for _, day := range slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after))) {
		if _, found := slices.BinarySearch(marked, day); !found && before[day] != after[day] {
			t.Fatalf("%s changed and is not marked:\n%s\n%s\n%+v", day, before[day], after[day], result)
		}
	}
	if once := slices.Compact(slices.Clone(marked)); len(once) != len(marked) {
		t.Fatalf("marked more than once: %v", marked)
	}
}
