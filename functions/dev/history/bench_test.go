package history_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// makeHistory makes a repository of n commits with a merge for every tenth and a
// tag for every two hundredth; each message is of so many bytes beyond its first
// line, which has the usual length.
func makeHistory(b testing.TB, n, messageBytes int) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "large.git")
	if out, err := exec.Command("git", "init", "-q", "--bare", "-b", "main", dir).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command("git", "-C", dir, "fast-import", "--quiet")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	body := strings.Repeat("x", messageBytes)
	at := 1_400_000_000
	for i := 1; i <= n; i++ {
		at += random.IntN(3600)
		author := random.IntN(200)
		message := fmt.Sprintf("Change the %d. of the things that are to be changed%s", i, body)
		fmt.Fprintf(in, "commit refs/heads/main\nmark :%d\nauthor A. U. Thor %d <author%d@widgets.example> %d +0000\ncommitter C. O. Mitter <mitter@widgets.example> %d +0000\ndata %d\n%s\n",
			i, author, author, at-random.IntN(100_000), at, len(message), message)
		if i > 10 && i%10 == 0 {
			// A side branch of two commits joins.
			fmt.Fprintf(in, "from :%d\nmerge :%d\n", i-3, i-1)
		}
		fmt.Fprint(in, "\n")
		if i%200 == 0 {
			fmt.Fprintf(in, "tag v1.%d\nfrom :%d\ntagger T <t@widgets.example> %d +0000\ndata 0\n\n", i/200, i, at+60)
		}
	}
	if err := in.Close(); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// mostOfGitLog is how many times as long as git log a first import may take.
const mostOfGitLog = 3

// BenchmarkImport holds how much longer a first import of 60,000 commits takes
// than git takes to print what the import reads: with a few hundred releases, and
// with every commit of the main line deployed.
func BenchmarkImport(b *testing.B) {
	ctx := context.Background()
	dir := makeHistory(b, 60_000, 0)
	db := postgres.Over(pgtest.Pool(b))
	for by, pattern := range map[string]*regexp.Regexp{history.ByTag: versions, history.ByCommit: regexp.MustCompile(`^none$`)} {
		source, err := history.Open(ctx, dir, pattern)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("by="+by, func(b *testing.B) {
			// The least of each: what else the machine does only ever adds.
			git, ours := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				git, ours = min(git, timeLog(b, dir)), min(ours, timeImport(b, db, source, by))
			}
			b.ReportMetric(float64(ours)/float64(git), "×git-log")
			b.ReportMetric(ours.Seconds(), "s/import")
			b.ReportMetric(git.Seconds(), "s/git-log")
			if ratio := float64(ours) / float64(git); ratio > mostOfGitLog {
				b.Errorf("a first import takes %.2f times as long as git log, want at most %d", ratio, mostOfGitLog)
			}
		})
	}
}

// timeLog returns how long git prints the fields of every commit to /dev/null.
func timeLog(b *testing.B, dir string) time.Duration {
	b.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, append(history.LogArgs(), "--all")...)...)
	cmd.Stdin = strings.NewReader("")
	started := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(started)
}

// timeImport returns how long a first import takes, and removes what it wrote.
func timeImport(b *testing.B, db *postgres.Database, source history.Source, by string) time.Duration {
	b.Helper()
	ctx := context.Background()
	team := newTeam(b, db, "Europe/Berlin")
	started := time.Now()
	result, err := history.Import(ctx, db, team, source, nil)
	took := time.Since(started)
	if err != nil || result.Commits != 60_000 || result.DeployedBy != by || result.Deployments < 300 {
		b.Fatalf("imported %+v: %v", result, err)
	}
	if _, err := db.Exec(ctx, `TRUNCATE teams CASCADE`); err != nil {
		b.Fatal(err)
	}
	if _, err := db.Exec(ctx, `TRUNCATE dirty_days, commits, deployments, deployment_changes`); err != nil {
		b.Fatal(err)
	}
	return took
}

// peakHeap returns the most heap that was in use while an import of dir reported
// its progress.
func peakHeap(t testing.TB, db *postgres.Database, dir string) uint64 {
	t.Helper()
	runtime.GC()
	var peak uint64
	_, err := history.Import(context.Background(), db, newTeam(t, db, "UTC"), open(t, dir), func(history.Progress) {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	})
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// BenchmarkMemory reports the peak of the heap for short and for long messages.
func BenchmarkMemory(b *testing.B) {
	db := postgres.Over(pgtest.Pool(b))
	for _, size := range []int{60, 6_000, 60_000} {
		dir := makeHistory(b, 4_000, size)
		b.Run(fmt.Sprintf("message=%d", size), func(b *testing.B) {
			var peak uint64
			for b.Loop() {
				peak = max(peak, peakHeap(b, db, dir))
			}
			b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		})
	}
}
