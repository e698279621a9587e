package history

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// difference is what storing the deployments of a history came to.
type difference struct {
	deployments int     // written, also those that moved
	changes     int     // written
	touched     []int64 // when deployments finish, or finished, whose figures differ
}

// writeDeployments brings the deployments of an environment and their changes
// from what is stored to what is wanted. A deployment that stays keeps its id.
func writeDeployments(ctx context.Context, tx pgx.Tx, environment uuid.UUID, wanted []deployment, changes []int32, g *graph) (difference, error) {
	stored, err := storedDeployments(ctx, tx, environment)
	if err != nil {
		return difference{}, err
	}
	var d difference
	var made, moved []deployment
	numbers := map[uuid.UUID]int32{} // of those that stay
	for i := range wanted {
		want := &wanted[i]
		old, known := stored[want.externalID]
		delete(stored, want.externalID)
		switch {
		case !known:
			want.id = uuid.Must(uuid.NewV7()) // ascending, which the index takes best
			made = append(made, *want)
		case old.finished == want.finished && old.baseline == want.baseline && bytes.Equal(old.sha, g.sha(want.commit)):
			want.id = old.id
			numbers[want.id] = int32(i)
			continue
		default:
			want.id = old.id
			numbers[want.id] = int32(i)
			moved = append(moved, *want)
			d.touched = append(d.touched, old.finished)
		}
		d.touched = append(d.touched, want.finished)
	}
	var gone []uuid.UUID
	for _, old := range stored {
		gone = append(gone, old.id)
		d.touched = append(d.touched, old.finished)
	}

	// What is wrong goes first: a change that moves is the same row to the key.
	kept := make([]bool, len(g.nodes))
	stale, err := staleChanges(ctx, tx, environment, wanted, numbers, kept, g)
	if err != nil {
		return difference{}, err
	}
	d.touched = append(d.touched, stale.touched...)
	if err := deleteChanges(ctx, tx, environment, stale.shas); err != nil {
		return difference{}, err
	}
	if err := deleteDeployments(ctx, tx, gone); err != nil {
		return difference{}, err
	}
	if err := updateDeployments(ctx, tx, moved, g); err != nil {
		return difference{}, err
	}
	if err := insertDeployments(ctx, tx, environment, made, g); err != nil {
		return difference{}, err
	}
	fresh := changes[:0]
	last := int32(none)
	for _, c := range changes {
		if kept[c] {
			continue
		}
		fresh = append(fresh, c)
		if first := g.nodes[c].first; first != last {
			d.touched = append(d.touched, wanted[first].finished)
			last = first
		}
	}
	d.deployments, d.changes = len(made)+len(moved), len(fresh)
	return d, insertChanges(ctx, tx, environment, wanted, fresh, g)
}

type storedDeployment struct {
	id       uuid.UUID
	sha      []byte
	finished int64
	baseline bool
}

// storedDeployments returns an environment's deployments by external id, but for those
// that were reported, which no history knows. No name of a tag has a colon.
func storedDeployments(ctx context.Context, tx pgx.Tx, environment uuid.UUID) (map[string]storedDeployment, error) {
	rows, err := tx.Query(ctx, `
		SELECT external_id, id, sha, extract(epoch FROM finished_at)::bigint, baseline
		FROM deployments WHERE environment_id = $1 AND external_id NOT LIKE 'report:%'`, environment)
	if err != nil {
		return nil, err
	}
	stored := map[string]storedDeployment{}
	var externalID string
	var one storedDeployment
	_, err = pgx.ForEachRow(rows, []any{&externalID, &one.id, &one.sha, &one.finished, &one.baseline}, func() error {
		one.sha = bytes.Clone(one.sha)
		stored[externalID] = one
		return nil
	})
	return stored, err
}

func insertDeployments(ctx context.Context, tx pgx.Tx, environment uuid.UUID, made []deployment, g *graph) error {
	if len(made) == 0 {
		return nil
	}
	// In order of the index over text, the dearest of the three.
	slices.SortFunc(made, func(a, b deployment) int { return strings.Compare(a.externalID, b.externalID) })
	return copyRows(ctx, tx, `COPY deployments (id, environment_id, external_id, ref, sha, status, finished_at, baseline) FROM STDIN BINARY`,
		func(b *rowBuffer) error {
			for i := range made {
				d := &made[i]
				b.row(8)
				b.bytes(d.id[:])
				b.bytes(environment[:])
				b.text(d.externalID)
				b.text(d.ref)
				b.bytes(g.sha(d.commit))
				b.text("success")
				b.timestamp(d.finished)
				b.bool(d.baseline)
				if err := b.flush(); err != nil {
					return err
				}
			}
			return nil
		})
}

// updateDeployments stores what moved: a tag to another commit or time, or the
// baseline to an older deployment.
func updateDeployments(ctx context.Context, tx pgx.Tx, moved []deployment, g *graph) error {
	if len(moved) == 0 {
		return nil
	}
	ids, shas := make([]uuid.UUID, len(moved)), make([][]byte, len(moved))
	times, baselines := make([]time.Time, len(moved)), make([]bool, len(moved))
	for i, d := range moved {
		ids[i], shas[i], times[i], baselines[i] = d.id, g.sha(d.commit), time.Unix(d.finished, 0), d.baseline
	}
	_, err := tx.Exec(ctx, `
		UPDATE deployments d SET sha = m.sha, finished_at = m.finished_at, baseline = m.baseline
		FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::boolean[]) AS m (id, sha, finished_at, baseline)
		WHERE d.id = m.id`,
		ids, shas, times, baselines)
	return err
}

func deleteDeployments(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `DELETE FROM deployments WHERE id = ANY ($1)`, ids)
	return err
}
