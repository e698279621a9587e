package history_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

var equateEmpty = cmpopts.EquateEmpty()

// release is a deployment, as git tells it or as it is stored.
type release struct {
	Name     string
	SHA      string // hex
	At       int64  // Unix seconds
	Baseline bool
	Leads    map[string]int64 // lead time in seconds of each change, by sha in hex
}

// gitCommit is a commit as git log prints it.
type gitCommit struct {
	authored, committed int64
	height              int // commits on the longest way down to a root
}

// releasesOf asks git, and nothing of ours but the pattern of versions, which
// releases there are, in order: by time, at the same second an ancestor first (it
// has the shorter way to a root), then by name. What a release brought is what
// none before it reaches.
func releasesOf(r *repo) []release {
	r.t.Helper()
	commits := r.commits()
	releases := r.versionTags(commits)
	if len(releases) == 0 {
		for _, sha := range r.mainLine() {
			releases = append(releases, release{Name: sha, SHA: sha, At: commits[sha].committed})
		}
	}
	slices.SortFunc(releases, func(a, b release) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(commits[a.SHA].height, commits[b.SHA].height), cmp.Compare(a.Name, b.Name))
	})
	var earlier []byte
	for i := range releases {
		one := &releases[i]
		if one.Baseline = i == 0; !one.Baseline {
			one.Leads = map[string]int64{}
			asked := append([]byte(one.SHA+"\n"), earlier...)
			for _, sha := range strings.Fields(r.command(asked, "git", "-C", r.dir, "rev-list", "--no-merges", "--stdin")) {
				one.Leads[sha] = one.At - commits[sha].authored
			}
		}
		earlier = fmt.Appendf(earlier, "^%s\n", one.SHA)
	}
	return releases
}

// commits reads the log, parents first.
func (r *repo) commits() map[string]gitCommit {
	r.t.Helper()
	commits := map[string]gitCommit{}
	log := r.command(nil, "git", "-C", r.dir, "log", "--all", "--topo-order", "--reverse", "--format=%H %at %ct %P")
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		one := gitCommit{authored: r.seconds(fields[1]), committed: r.seconds(fields[2]), height: 1}
		for _, parent := range fields[3:] {
			one.height = max(one.height, commits[parent].height+1)
		}
		commits[fields[0]] = one
	}
	return commits
}

// versionTags lists the tags that look like versions and name a commit.
func (r *repo) versionTags(commits map[string]gitCommit) []release {
	r.t.Helper()
	var tags []release
	var ask []byte
	for line := range strings.Lines(r.command(nil, "git", "-C", r.dir, "for-each-ref", "--format=%(refname:strip=2) %(creatordate:unix)", "refs/tags")) {
		name, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !versions.MatchString(name) {
			continue
		}
		one := release{Name: name, At: -1} // an old tag does not say when it was made
		if at != "" {
			one.At = r.seconds(at)
		}
		tags = append(tags, one)
		ask = fmt.Appendf(ask, "refs/tags/%s^{commit}\n", name)
	}
	if len(tags) == 0 {
		return nil
	}
	answers := strings.Split(r.command(ask, "git", "-C", r.dir, "cat-file", "--batch-check=%(objectname) %(objecttype)"), "\n")
	for i := range tags {
		sha, kind, _ := strings.Cut(answers[i], " ")
		if kind != "commit" {
			continue
		}
		if tags[i].SHA = sha; tags[i].At < 0 {
			tags[i].At = commits[sha].committed
		}
	}
	return slices.DeleteFunc(tags, func(one release) bool { return one.SHA == "" })
}

// mainLine lists the first parents of main, if there is such a branch.
func (r *repo) mainLine() []string {
	r.t.Helper()
	if len(r.git("for-each-ref", "refs/heads/main")) == 0 {
		return nil
	}
	return r.git("rev-list", "--first-parent", "refs/heads/main")
}

func (r *repo) seconds(text string) int64 {
	r.t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.t.Fatalf("git printed %q where a time should be", text)
	}
	return n
}

// storedReleases reads what an import wrote.
func storedReleases(t tb, db postgres.DB, environment uuid.UUID) []release {
	t.Helper()
	rows, err := db.Query(context.Background(), `
		SELECT d.external_id, encode(d.sha, 'hex'), extract(epoch FROM d.finished_at)::bigint, d.baseline, encode(c.sha, 'hex'), c.lead_seconds
		FROM deployments d LEFT JOIN deployment_changes c ON c.deployment_id = d.id
		WHERE d.environment_id = $1 AND d.status = 'success' ORDER BY d.id`, environment)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var releases []release
	var one release
	var sha *string
	var lead *int64
	_, err = pgx.ForEachRow(rows, []any{&one.Name, &one.SHA, &one.At, &one.Baseline, &sha, &lead}, func() error {
		if len(releases) == 0 || releases[len(releases)-1].Name != one.Name {
			one.Leads = map[string]int64{}
			releases = append(releases, one)
		}
		if sha != nil {
			one.Leads[*sha] = *lead
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return releases
}

// differences compares what is stored with what git tells; empty if nothing differs.
func differences(t tb, db postgres.DB, environment uuid.UUID, told []release) string {
	t.Helper()
	byName := cmpopts.SortSlices(func(a, b release) bool { return a.Name < b.Name })
	return gocmp.Diff(told, storedReleases(t, db, environment), equateEmpty, byName)
}

func checkAgainstGit(t tb, db postgres.DB, r *repo, environment uuid.UUID) {
	t.Helper()
	if diff := differences(t, db, environment, releasesOf(r)); diff != "" {
		t.Fatalf("deployments, git's against ours:\n%s", diff)
	}
}

// rolledDay is a row of each rollup of deployments.
type rolledDay struct {
	Day                            string // in UTC
	Deployed, Changes, N, Excluded int
	Samples                        []int64 // sorted; none where the row holds a sketch
}

// daysOf says what rollup has to make of releases, in UTC.
func daysOf(releases []release) []rolledDay {
	byDay := map[string]*rolledDay{}
	for _, one := range releases {
		day := time.Unix(one.At, 0).UTC().Format(time.DateOnly)
		if byDay[day] == nil {
			byDay[day] = &rolledDay{Day: day}
		}
		sum, samples := byDay[day], samplesOf([]release{one})
		sum.Deployed++
		sum.Changes += len(one.Leads)
		sum.N += len(samples)
		sum.Excluded += len(one.Leads) - len(samples)
		sum.Samples = append(sum.Samples, samples...)
	}
	var days []rolledDay
	for _, sum := range byDay {
		if sum.N > sample.Exact {
			sum.Samples = nil
		}
		slices.Sort(sum.Samples)
		days = append(days, *sum)
	}
	slices.SortFunc(days, func(a, b rolledDay) int { return cmp.Compare(a.Day, b.Day) })
	return days
}

// rolledDays reads what rollup wrote.
func rolledDays(t tb, db postgres.DB, environment uuid.UUID) []rolledDay {
	t.Helper()
	rows, err := db.Query(context.Background(), `
		SELECT d.day::text, d.deployed, d.changes, coalesce(s.n, 0), coalesce(s.excluded, 0), coalesce(s.samples, '{}')
		FROM rollup_deployments d LEFT JOIN rollup_samples s USING (environment_id, day)
		WHERE environment_id = $1 ORDER BY d.day`, environment)
	if err != nil {
		t.Fatalf("%v", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowToStructByPos[rolledDay])
	if err != nil {
		t.Fatalf("%v", err)
	}
	return days
}

// samplesOf lists the lead times that count.
func samplesOf(releases []release) []int64 {
	samples := []int64{}
	for _, one := range releases {
		for _, lead := range one.Leads {
			if lead >= 0 && lead <= sample.Longest {
				samples = append(samples, lead)
			}
		}
	}
	return samples
}

// percentiles are the p50, p75, p90 and p95, as PostgreSQL computes them; nil
// without samples.
func percentiles(t tb, db postgres.DB, samples []int64) (p []float64) {
	t.Helper()
	err := db.QueryRow(context.Background(), `
		SELECT percentile_cont(ARRAY[0.5, 0.75, 0.9, 0.95]) WITHIN GROUP (ORDER BY s) FROM unnest($1::bigint[]) s`, samples).Scan(&p)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return p
}
