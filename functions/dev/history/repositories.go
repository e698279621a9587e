package history

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// imported tells whether exactly these refs are stored already.
func imported(ctx context.Context, db postgres.DB, team uuid.UUID, origin Origin, refs Refs) (Result, bool, error) {
	result := Result{Unchanged: true, Skipped: refs.Skipped}
	err := db.QueryRow(ctx, `
		SELECT r.id, r.name, s.id, s.deployed_by, e.id
		FROM repositories r
		JOIN services s ON s.repository_id = r.id
		JOIN environments e ON e.service_id = s.id AND e.name = $5
		WHERE r.team_id = $1 AND r.source = $2 AND r.external_id = $3 AND r.imported = $4`,
		team, origin.Source, origin.ExternalID, fingerprint(origin, refs), production,
	).Scan(&result.Repository, &result.Name, &result.Service, &result.DeployedBy, &result.Environment)
	if errors.Is(err, pgx.ErrNoRows) {
		return Result{}, false, nil
	}
	return result, err == nil, err
}

// lockRepository returns the repository's row, made if it is new, and keeps other
// imports of it waiting until the transaction ends.
func lockRepository(ctx context.Context, tx pgx.Tx, team uuid.UUID, origin Origin) (id uuid.UUID, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO repositories AS r (team_id, source, external_id, name) VALUES ($1, $2, $3, $4)
		ON CONFLICT (team_id, source, external_id) DO UPDATE SET name = excluded.name
		RETURNING r.id`,
		team, origin.Source, origin.ExternalID, origin.Name).Scan(&id)
	if postgres.Violates(err, "repositories_team_id_fkey") {
		return id, noTeam
	}
	return id, err
}

// saveImported ends an import: the refs are stored.
func saveImported(ctx context.Context, tx pgx.Tx, repository uuid.UUID, fingerprint string) error {
	_, err := tx.Exec(ctx, `UPDATE repositories SET imported = $2 WHERE id = $1`, repository, fingerprint)
	return err
}

var noTeam = fault.New(fault.NotFound, "no_such_team", "There is no such team to import for.")

// lockTimeZone returns the team's time zone and keeps it until the transaction
// ends: a change of zone either comes first, or finds the days marked that it has
// to move.
func lockTimeZone(ctx context.Context, tx pgx.Tx, team uuid.UUID) (zone string, err error) {
	err = tx.QueryRow(ctx, `SELECT time_zone FROM teams WHERE id = $1 FOR SHARE`, team).Scan(&zone)
	return zone, err
}
