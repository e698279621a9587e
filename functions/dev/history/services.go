package history

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// production is the one environment of an imported history: a release in git is
// as close to production as git knows.
const production = "production"

// saveService stores the one service of a repository, which has its name, with
// its one environment.
func saveService(ctx context.Context, tx pgx.Tx, repository uuid.UUID, name, deployedBy string) (service, environment uuid.UUID, err error) {
	// By repository and not by name, so that a repository that was renamed keeps
	// its service.
	err = tx.QueryRow(ctx, `
		WITH kept AS (
			UPDATE services SET name = $2, deployed_by = $3 WHERE repository_id = $1 RETURNING id
		), made AS (
			INSERT INTO services (repository_id, name, deployed_by)
			SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM kept) RETURNING id
		)
		SELECT id FROM kept UNION ALL SELECT id FROM made`,
		repository, name, deployedBy).Scan(&service)
	if err != nil {
		return service, environment, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO environments (service_id, name, kind) VALUES ($1, $2, 'production')
		ON CONFLICT (service_id, name) DO UPDATE SET kind = excluded.kind
		RETURNING id`,
		service, production).Scan(&environment)
	return service, environment, err
}
