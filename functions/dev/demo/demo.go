// Package demo generates a believable history for those who stand in no
// repository: eighteen months of a team that begins by releasing every other week
// and ends by releasing almost daily. Nobody in it exists.
package demo

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
)

// months is how far a history goes back.
const months = 18

// History is a generated history; a history.Source.
type History struct {
	seed    uint64
	commits []history.Commit // parents before children
	tags    []history.Tag
	tips    [][]byte
	main    []byte
}

// New returns the history of a seed up to the day of now, without that day. It
// begins on the first of a month, so that within a month a later call adds days
// and changes none.
func New(seed uint64, now time.Time) *History {
	end := now.UTC().Truncate(24 * time.Hour)
	begin := time.Date(end.Year(), end.Month()-months, 1, 0, 0, 0, 0, time.UTC)
	return simulate(seed, begin, end)
}

// Origin identifies the history by its seed.
func (h *History) Origin() history.Origin {
	return history.Origin{Source: "demo", ExternalID: fmt.Sprint(h.seed), Name: "teapot"}
}

// Refs returns the main line, the hotfix lines and the releases.
func (h *History) Refs(context.Context) (history.Refs, error) {
	return history.Refs{Tips: h.tips, Main: h.main, Versions: h.tags}, nil
}

// Log yields every commit.
func (h *History) Log(context.Context, [][]byte) iter.Seq2[*history.Commit, error] {
	return func(yield func(*history.Commit, error) bool) {
		for i := range h.commits {
			if !yield(&h.commits[i], nil) {
				return
			}
		}
	}
}

// Count returns the number of commits.
func (h *History) Count(context.Context, [][]byte) (int, error) { return len(h.commits), nil }
