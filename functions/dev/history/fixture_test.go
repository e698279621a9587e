package history_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// tb is what a test and a rapid check have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

// repo is a repository that a test makes with git.
type repo struct {
	t   tb
	dir string
}

// newRepo returns an empty bare repository.
func newRepo(t *testing.T, options ...string) *repo {
	t.Helper()
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "widgets.git")}
	r.command(nil, "git", append([]string{"init", "-q", "--bare", "-b", "main"}, append(options, r.dir)...)...)
	return r
}

func (r *repo) command(stdin []byte, name string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@widgets.example", "GIT_AUTHOR_DATE=@1600000000 +0000",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@widgets.example", "GIT_COMMITTER_DATE=@1600000000 +0000")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, &complaint)
	}
	return out.String()
}

// git runs git in the repository and returns the fields of what it prints.
func (r *repo) git(args ...string) []string {
	r.t.Helper()
	return strings.Fields(r.command(nil, "git", append([]string{"-C", r.dir}, args...)...))
}

func (r *repo) fastImport(stream string) {
	r.t.Helper()
	r.command([]byte(stream), "git", "-C", r.dir, "fast-import", "--quiet", "--force", "--date-format=raw-permissive")
}

// planned is a commit of a plan; parents are places in the plan.
type planned struct {
	parents   []int
	author    string
	authored  int64
	committed int64
	subject   string
}

// planTag is a tag of a plan.
type planTag struct {
	commit    int
	annotated bool
	at        int64
}

// stream writes the commits of a plan from begin on for fast-import, and remembers
// each under refs/kept/N, outside of what an import reads.
func stream(plan []planned, begin int) string {
	var b strings.Builder
	for i := begin; i < len(plan); i++ {
		c := plan[i]
		fmt.Fprintf(&b, "commit refs/kept/%d\nmark :%d\nauthor %s <%s@widgets.example> %d +0000\ncommitter Ada <ada@widgets.example> %d +0000\ndata %d\n%s\n",
			i, i+1, c.author, strings.ToLower(c.author), c.authored, c.committed, len(c.subject), c.subject)
		for n, p := range c.parents {
			verb := "merge"
			if n == 0 {
				verb = "from"
			}
			fmt.Fprintf(&b, "%s %s\n", verb, commitish(p, begin))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func commitish(i, begin int) string {
	if i >= begin {
		return fmt.Sprintf(":%d", i+1)
	}
	return fmt.Sprintf("refs/kept/%d^0", i)
}

// setRefs makes branches and tags exactly these.
func (r *repo) setRefs(branches map[string]int, tags map[string]planTag) {
	r.t.Helper()
	r.command([]byte(r.command(nil, "git", "-C", r.dir, "for-each-ref", "--format=delete %(refname)", "refs/heads", "refs/tags")), "git", "-C", r.dir, "update-ref", "--stdin")
	var b strings.Builder
	for name, at := range branches {
		fmt.Fprintf(&b, "reset refs/heads/%s\nfrom refs/kept/%d^0\n\n", name, at)
	}
	for name, tag := range tags {
		if tag.annotated {
			fmt.Fprintf(&b, "tag %s\nfrom refs/kept/%d^0\ntagger Ada <ada@widgets.example> %d +0000\ndata 0\n\n", name, tag.commit, tag.at)
		} else {
			fmt.Fprintf(&b, "reset refs/tags/%s\nfrom refs/kept/%d^0\n\n", name, tag.commit)
		}
	}
	r.fastImport(b.String())
}

var versions = regexp.MustCompile(history.DefaultVersions)

func open(t tb, dir string) *history.Repository {
	t.Helper()
	r, err := history.Open(context.Background(), dir, versions)
	if err != nil {
		t.Fatalf("open %s: %v", dir, err)
	}
	return r
}

func importOf(t tb, db *postgres.Database, team uuid.UUID, source history.Source) history.Result {
	t.Helper()
	result, err := history.Import(context.Background(), db, team, source, nil)
	if err != nil {
		t.Fatalf("import: %v", err)
	}
	return result
}

func newTeam(t tb, db postgres.DB, zone string) (id uuid.UUID) {
	t.Helper()
	if err := db.QueryRow(context.Background(), `INSERT INTO teams (name, time_zone) VALUES ('Team', $1) RETURNING id`, zone).Scan(&id); err != nil {
		t.Fatalf("%v", err)
	}
	return id
}

// column returns the first column of what sql answers, as text.
func column(t tb, db postgres.DB, sql string, args ...any) []string {
	t.Helper()
	rows, err := db.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// facts returns all that an import wrote for a team, without generated ids.
func facts(t tb, db postgres.DB, team uuid.UUID) map[string][]string {
	t.Helper()
	return map[string][]string{
		"repositories": column(t, db, `SELECT ROW(source, external_id, name, imported)::text FROM repositories WHERE team_id = $1 ORDER BY 1`, team),
		"services": column(t, db, `
			SELECT ROW(s.name, s.deployed_by, e.name, e.kind)::text
			FROM environments e JOIN services s ON s.id = e.service_id JOIN repositories r ON r.id = s.repository_id
			WHERE r.team_id = $1 ORDER BY 1`, team),
		"authors": column(t, db, `SELECT ROW(a.name, a.email)::text FROM authors a JOIN repositories r ON r.id = a.repository_id WHERE r.team_id = $1 ORDER BY 1`, team),
		"commits": column(t, db, `
			SELECT ROW(c.sha, a.name, a.email, c.authored_at, c.committed_at, c.parents, c.subject)::text
			FROM commits c JOIN repositories r ON r.id = c.repository_id LEFT JOIN authors a ON a.id = c.author_id
			WHERE r.team_id = $1 ORDER BY 1`, team),
		"deployments": column(t, db, `
			SELECT ROW(d.external_id, d.ref, d.sha, d.status, d.finished_at, d.baseline)::text
			FROM deployments d JOIN environments e ON e.id = d.environment_id JOIN services s ON s.id = e.service_id JOIN repositories r ON r.id = s.repository_id
			WHERE r.team_id = $1 ORDER BY 1`, team),
		"changes": column(t, db, `
			SELECT ROW(d.external_id, c.sha, c.lead_seconds, c.environment_id = d.environment_id)::text
			FROM deployment_changes c JOIN environments e ON e.id = c.environment_id JOIN services s ON s.id = e.service_id JOIN repositories r ON r.id = s.repository_id
			LEFT JOIN deployments d ON d.id = c.deployment_id
			WHERE r.team_id = $1 ORDER BY 1`, team),
	}
}

// changesByRef returns the shas, in hex, that each deployment brought.
func changesByRef(t tb, db postgres.DB, environment uuid.UUID) map[string][]string {
	t.Helper()
	rows, err := db.Query(context.Background(), `
		SELECT d.external_id, c.sha FROM deployments d LEFT JOIN deployment_changes c ON c.deployment_id = d.id
		WHERE d.environment_id = $1 ORDER BY c.sha`, environment)
	if err != nil {
		t.Fatalf("%v", err)
	}
	byRef := map[string][]string{}
	var name string
	var sha []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &sha}, func() error {
		if byRef[name] == nil {
			byRef[name] = []string{}
		}
		if sha != nil {
			byRef[name] = append(byRef[name], hex.EncodeToString(sha))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return byRef
}
