package history

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// batchSize is how many commits go into one COPY: enough that its round trip
// counts for little, few enough that the three batches in flight are small.
const batchSize = 4096

// countFrom is how many commits an import has seen before it has them counted for
// the sake of progress, if anybody looks: counting takes git half as long as the
// log.
const countFrom = 2 * batchSize

// walk is the one pass over the commits of a history.
type walk struct {
	graph   *graph
	stored  map[string]struct{} // commits that have a row and were not yet seen
	authors map[Author]int32    // numbers
	written int
	touched []int64 // author times of the commits that came or went, without merges
}

// batch is a run of commits that have no row.
type batch struct {
	commits []commitRow
	authors []Author // first seen in this batch, in order of their numbers
	shas    []byte   // backs commitRow.sha
	seen    int      // commits of the history so far, also those that have a row
}

// writeCommits writes the commits of a history that are not stored, and removes
// those that are stored and gone. Git, reading and writing run side by side.
func writeCommits(ctx context.Context, tx pgx.Tx, repository uuid.UUID, source Source, tips [][]byte, progress func(Progress)) (*walk, error) {
	w := &walk{graph: &graph{}, authors: map[Author]int32{}}
	var err error
	if w.stored, err = storedCommits(ctx, tx, repository); err != nil {
		return nil, err
	}
	known, err := storedAuthors(ctx, tx, repository)
	if err != nil {
		return nil, err
	}
	var ids []int64 // of authors, by number
	for author, id := range known {
		w.authors[author] = int32(len(ids))
		ids = append(ids, id)
	}

	group, running := errgroup.WithContext(ctx)
	batches := make(chan *batch, 1)
	group.Go(func() error {
		defer close(batches)
		return w.read(running, source.Log(running, tips), batches)
	})
	group.Go(func() error {
		var total atomic.Int64
		counting, stop := context.WithCancel(running)
		defer stop()
		for b := range batches {
			made, err := insertAuthors(running, tx, repository, b.authors)
			if err != nil {
				return err
			}
			for _, author := range b.authors {
				ids = append(ids, made[author])
			}
			if err := insertCommits(running, tx, repository, b.commits, ids); err != nil {
				return err
			}
			w.written += len(b.commits)
			if progress == nil {
				continue
			}
			if before := b.seen - batchSize; before < countFrom && b.seen >= countFrom {
				group.Go(func() error {
					// Without a count there is no total, and the import goes on.
					n, _ := source.Count(counting, tips)
					total.Store(int64(n))
					return nil
				})
			}
			progress(Progress{Done: b.seen, Total: int(total.Load())})
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return w, w.remove(ctx, tx, repository)
}

// read takes the log into the graph and sends on what has no row.
func (w *walk) read(ctx context.Context, log iter.Seq2[*Commit, error], to chan<- *batch) error {
	b := &batch{}
	since := 0
	send := func() error {
		// Rows that are near each other in the index are written one after the other.
		slices.SortFunc(b.commits, func(x, y commitRow) int { return bytes.Compare(x.sha, y.sha) })
		b.seen = w.graph.walked
		select {
		case to <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b, since = &batch{}, 0
		return nil
	}
	for c, err := range log {
		if err != nil {
			return err
		}
		if _, err := w.graph.add(c); err != nil {
			return err
		}
		if _, known := w.stored[string(c.SHA)]; known {
			delete(w.stored, string(c.SHA))
		} else {
			w.take(b, c)
		}
		// Also a batch without rows is sent: it shows how far the log has been read.
		if since++; since == batchSize {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// take adds a commit to a batch.
func (w *walk) take(b *batch, c *Commit) {
	if b.commits == nil {
		b.commits = make([]commitRow, 0, batchSize)
		b.shas = make([]byte, 0, batchSize*len(c.SHA))
	}
	author, known := w.authors[c.Author]
	if !known {
		author = int32(len(w.authors))
		w.authors[c.Author] = author
		b.authors = append(b.authors, c.Author)
	}
	at := len(b.shas)
	b.shas = append(b.shas, c.SHA...)
	row := commitRow{
		sha: b.shas[at:], author: author,
		authored: c.Authored.Unix(), committed: c.Committed.Unix(),
		parents: len(c.Parents), subject: c.Subject,
	}
	b.commits = append(b.commits, row)
	if row.parents < 2 {
		w.touched = append(w.touched, row.authored)
	}
}

// remove deletes the commits that the log no longer names.
func (w *walk) remove(ctx context.Context, tx pgx.Tx, repository uuid.UUID) error {
	if len(w.stored) == 0 {
		return nil
	}
	gone := make([][]byte, 0, len(w.stored))
	for sha := range w.stored {
		gone = append(gone, []byte(sha))
	}
	times, err := deleteCommits(ctx, tx, repository, gone)
	if err != nil {
		return err
	}
	w.touched = append(w.touched, times...)
	return deleteIdleAuthors(ctx, tx, repository)
}
