package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/devops-dashboard/dashboard/functions/dev/demo"
	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// openSources checks every history before anything is started.
func openSources(ctx context.Context, o options) ([]history.Source, error) {
	var sources []history.Source
	for _, path := range o.repos {
		repository, err := history.Open(ctx, path, o.versions)
		if err != nil {
			return nil, fmt.Errorf("%w\nName a repository with -repo PATH, or see a generated history with -demo", err)
		}
		sources = append(sources, repository)
	}
	if o.demo {
		sources = append(sources, demo.New(1, time.Now()))
	}
	return sources, nil
}

// importAll brings every history into the team's facts and says what was new. It
// returns the service of the first.
func importAll(ctx context.Context, databaseURL string, team uuid.UUID, sources []history.Source, out io.Writer) (uuid.UUID, error) {
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return uuid.Nil, err
	}
	defer pool.Close()
	first := uuid.Nil
	for _, source := range sources {
		started := time.Now()
		var progress func(history.Progress)
		if terminal(out) {
			progress = bar(out)
		}
		result, err := history.Import(ctx, postgres.Over(pool), team, source, progress)
		if err != nil {
			return uuid.Nil, fmt.Errorf("import %s: %w", source.Origin().Name, err)
		}
		line(out, "History", "%s", said(result, started))
		if first == uuid.Nil {
			first = result.Service
		}
	}
	return first, nil
}

// said tells what an import did.
func said(r history.Result, started time.Time) string {
	text := fmt.Sprintf("%s: %s, %s, %s in %s", r.Name, counted(r.Commits, "new commit"), counted(r.Deployments, "deployment"), counted(r.Changes, "change"), took(started))
	if r.Unchanged {
		text = fmt.Sprintf("%s: nothing new, checked in %s", r.Name, took(started))
	}
	if r.DeployedBy == history.ByCommit {
		text += "\n             No tag looks like a version, so each commit on the main line counts as a deployment; -tags REGEXP names other tags."
	}
	if r.Skipped.OtherTags > 0 {
		text += fmt.Sprintf("\n             %s left out; -tags REGEXP decides which are deployments.", counted(r.Skipped.OtherTags, "other tag"))
	}
	switch n := r.Skipped.NotCommits; n {
	case 0:
	case 1:
		text += "\n             1 version tag names no commit and was left out."
	default:
		text += fmt.Sprintf("\n             %d version tags name no commit and were left out.", n)
	}
	return text
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// terminal tells whether a person sees out as it is written.
func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// bar draws a progress bar, once an import proves long: when its commits have been
// counted.
func bar(out io.Writer) func(history.Progress) {
	var drawn *progressbar.ProgressBar
	return func(p history.Progress) {
		if p.Total == 0 {
			return
		}
		if drawn == nil {
			drawn = progressbar.NewOptions64(int64(p.Total), progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("  importing"),
				progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		_ = drawn.Set64(int64(p.Done))
	}
}

// condense has the rollup function compute until nothing is left, as Cloud
// Scheduler would over time.
func condense(ctx context.Context, inside client, out io.Writer) error {
	started := time.Now()
	total := 0
	for {
		var answer struct{ Condensed, Left int }
		if _, err := inside.call(ctx, http.MethodPost, "/api/rollup/condense", "", nil, &answer); err != nil {
			return fmt.Errorf("condense: %w", err)
		}
		total += answer.Condensed
		if answer.Left == 0 || answer.Condensed == 0 {
			break
		}
	}
	if total > 0 {
		line(out, "Rollups", "%s condensed in %s", counted(total, "day"), took(started))
	}
	return nil
}
