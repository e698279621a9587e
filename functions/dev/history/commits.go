package history

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// commitRow is a commit on its way into its table.
type commitRow struct {
	sha       []byte
	author    int32 // number within the import
	authored  int64 // Unix seconds
	committed int64
	parents   int
	subject   string
}

// insertCommits stores commits that have no row. There is nothing to conflict
// with: imports alone write this table, and one repository's come one by one.
func insertCommits(ctx context.Context, tx pgx.Tx, repository uuid.UUID, commits []commitRow, authors []int64) error {
	return copyRows(ctx, tx, `COPY commits (repository_id, sha, author_id, authored_at, committed_at, parents, subject) FROM STDIN BINARY`,
		func(b *rowBuffer) error {
			for i := range commits {
				c := &commits[i]
				b.row(7)
				b.bytes(repository[:])
				b.bytes(c.sha)
				b.int64(authors[c.author])
				b.timestamp(c.authored)
				b.timestamp(c.committed)
				b.int16(int16(min(c.parents, 1<<15-1)))
				b.text(c.subject)
				if err := b.flush(); err != nil {
					return err
				}
			}
			return nil
		})
}

// storedCommits returns the shas of a repository's commits.
func storedCommits(ctx context.Context, tx pgx.Tx, repository uuid.UUID) (map[string]struct{}, error) {
	rows, err := tx.Query(ctx, `SELECT sha FROM commits WHERE repository_id = $1`, repository)
	if err != nil {
		return nil, err
	}
	stored := map[string]struct{}{}
	var sha []byte
	_, err = pgx.ForEachRow(rows, []any{&sha}, func() error {
		stored[string(sha)] = struct{}{}
		return nil
	})
	return stored, err
}

// deleteCommits removes commits and returns when those of them that are no merges
// were written.
func deleteCommits(ctx context.Context, tx pgx.Tx, repository uuid.UUID, shas [][]byte) ([]int64, error) {
	rows, err := tx.Query(ctx, `
		WITH gone AS (
			DELETE FROM commits WHERE repository_id = $1 AND sha = ANY ($2) RETURNING authored_at, parents
		)
		SELECT extract(epoch FROM authored_at)::bigint FROM gone WHERE parents < 2`,
		repository, shas)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}
