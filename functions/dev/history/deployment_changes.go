package history

import (
	"bytes"
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// lead returns the lead time of a change in seconds: from when its author wrote
// it to when its deployment finished. It is negative where clocks disagree.
func (g *graph) lead(wanted []deployment, c int32) int64 {
	return wanted[g.nodes[c].first].finished - g.nodes[c].authored
}

// stale is what an environment's stored changes have that is no longer true.
type stale struct {
	shas    [][]byte
	touched []int64 // when the deployments finish that lose a change
}

// staleChanges compares an environment's stored changes with what is wanted, and
// ticks those off in kept that are stored as they should be. numbers are the
// deployments that stay.
func staleChanges(ctx context.Context, tx pgx.Tx, environment uuid.UUID, wanted []deployment, numbers map[uuid.UUID]int32, kept []bool, g *graph) (stale, error) {
	rows, err := tx.Query(ctx, `SELECT sha, deployment_id, lead_seconds FROM deployment_changes WHERE environment_id = $1`, environment)
	if err != nil {
		return stale{}, err
	}
	var s stale
	var sha []byte
	var id uuid.UUID
	var lead int64
	_, err = pgx.ForEachRow(rows, []any{&sha, &id, &lead}, func() error {
		number, stays := numbers[id]
		if !stays {
			return nil // goes with its deployment
		}
		if c := g.find(sha); c != none && g.nodes[c].first == number && !wanted[number].baseline && g.lead(wanted, c) == lead {
			kept[c] = true
			return nil
		}
		s.shas = append(s.shas, bytes.Clone(sha))
		s.touched = append(s.touched, wanted[number].finished)
		return nil
	})
	return s, err
}

func deleteChanges(ctx context.Context, tx pgx.Tx, environment uuid.UUID, shas [][]byte) error {
	if len(shas) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM deployment_changes WHERE environment_id = $1 AND sha = ANY ($2)`, environment, shas)
	return err
}

// insertChanges stores changes that have no row.
func insertChanges(ctx context.Context, tx pgx.Tx, environment uuid.UUID, wanted []deployment, changes []int32, g *graph) error {
	if len(changes) == 0 {
		return nil
	}
	// In order of the index, which makes this twice as fast.
	slices.SortFunc(changes, func(a, b int32) int { return bytes.Compare(g.sha(a), g.sha(b)) })
	return copyRows(ctx, tx, `COPY deployment_changes (deployment_id, environment_id, sha, lead_seconds) FROM STDIN BINARY`,
		func(b *rowBuffer) error {
			for _, c := range changes {
				b.row(4)
				b.bytes(wanted[g.nodes[c].first].id[:])
				b.bytes(environment[:])
				b.bytes(g.sha(c))
				b.int64(g.lead(wanted, c))
				if err := b.flush(); err != nil {
					return err
				}
			}
			return nil
		})
}
