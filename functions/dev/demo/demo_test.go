package demo_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/dev/demo"
	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

var now = time.Date(2026, 5, 20, 13, 45, 0, 0, time.UTC)

func collect(t *testing.T, h *demo.History) (history.Refs, []history.Commit) {
	t.Helper()
	refs, err := h.Refs(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var commits []history.Commit
	for c, err := range h.Log(context.Background(), refs.Tips) {
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, *c)
	}
	if n, err := h.Count(context.Background(), refs.Tips); n != len(commits) || err != nil {
		t.Fatalf("counted %d of %d: %v", n, len(commits), err)
	}
	return refs, commits
}

func TestHistoryIsBelievable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		refs, commits := collect(t, demo.New(seed, now))
		authors, weekend, merges, patches := map[history.Author]int{}, 0, 0, 0
		first, last := now, time.Time{}
		for _, c := range commits {
			authors[c.Author]++
			if day := c.Committed.Weekday(); day == time.Saturday || day == time.Sunday {
				weekend++
			}
			if len(c.Parents) > 1 {
				merges++
			}
			if c.Authored.After(c.Committed) {
				t.Errorf("seed %d: %q was written after it was committed", seed, c.Subject)
			}
			if c.Committed.Before(first) {
				first = c.Committed
			}
			if c.Committed.After(last) {
				last = c.Committed
			}
		}
		inMonth, releasedIn := map[time.Time]bool{}, map[bool]int{}
		for i, tag := range refs.Versions {
			if i > 0 && !tag.At.After(refs.Versions[i-1].At) {
				t.Errorf("seed %d: %s is not after the release before it", seed, tag.Name)
			}
			if tag.Name[len(tag.Name)-2:] != ".0" {
				patches++
			}
			inMonth[tag.At.Truncate(24*time.Hour)] = true
			releasedIn[tag.At.After(now.AddDate(0, -4, 0))]++
		}
		today := now.Truncate(24 * time.Hour)
		switch {
		case len(commits) < 1500 || len(commits) > 6000:
			t.Errorf("seed %d: %d commits", seed, len(commits))
		case len(authors) != 6:
			t.Errorf("seed %d: %d authors", seed, len(authors))
		case weekend*10 > len(commits):
			t.Errorf("seed %d: %d of %d commits on weekends", seed, weekend, len(commits))
		case merges < 200:
			t.Errorf("seed %d: %d merges", seed, merges)
		case patches < 3:
			t.Errorf("seed %d: %d hotfixes", seed, patches)
		case releasedIn[true] < releasedIn[false]/2:
			t.Errorf("seed %d: releases did not become more frequent: %v", seed, releasedIn)
		case !last.Before(today) || last.Before(today.AddDate(0, 0, -4)):
			t.Errorf("seed %d: ends at %s", seed, last)
		case first.After(now.AddDate(0, -18, 0)) || first.Before(now.AddDate(0, -20, 0)):
			t.Errorf("seed %d: begins at %s", seed, first)
		}
	}
}

func TestSameSeedAndDayGiveTheSameHistory(t *testing.T) {
	t.Parallel()
	refs, commits := collect(t, demo.New(3, now))
	againRefs, again := collect(t, demo.New(3, now.Add(time.Hour)))
	if diff := cmp.Diff(commits, again) + cmp.Diff(refs, againRefs); diff != "" {
		t.Error(diff)
	}
	if _, other := collect(t, demo.New(4, now)); cmp.Equal(commits, other) {
		t.Error("two seeds gave one history")
	}
}

func TestNextDayAddsToTheHistory(t *testing.T) {
	t.Parallel()
	_, commits := collect(t, demo.New(3, now))
	_, later := collect(t, demo.New(3, now.AddDate(0, 0, 2)))
	if len(later) <= len(commits) {
		t.Fatalf("%d commits became %d", len(commits), len(later))
	}
	if diff := cmp.Diff(commits, later[:len(commits)]); diff != "" {
		t.Error(diff)
	}
}

func TestFirstOfAMonthHasAllMonths(t *testing.T) {
	t.Parallel()
	_, commits := collect(t, demo.New(1, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	if begin := commits[0].Committed; begin.Format("2006-01") != "2024-07" {
		t.Errorf("begins at %s", begin)
	}
}

func TestHistoryIsImported(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := postgres.Over(pgtest.Pool(t))
	var team uuid.UUID
	if err := db.QueryRow(ctx, `INSERT INTO teams (name) VALUES ('Demo') RETURNING id`).Scan(&team); err != nil {
		t.Fatal(err)
	}
	refs, commits := collect(t, demo.New(1, now))
	first, err := history.Import(ctx, db, team, demo.New(1, now), nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.Commits != len(commits) || first.Deployments != len(refs.Versions) || first.DeployedBy != history.ByTag || first.Changes < len(commits)/3 {
		t.Errorf("imported %+v of %d commits and %d tags", first, len(commits), len(refs.Versions))
	}
	later, err := history.Import(ctx, db, team, demo.New(1, now.AddDate(0, 0, 2)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if later.Repository != first.Repository || later.Commits == 0 || later.Commits > 60 || later.Deployments > 4 {
		t.Errorf("two days later: %+v", later)
	}
	if again, err := history.Import(ctx, db, team, demo.New(1, now.AddDate(0, 0, 2)), nil); err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
}
