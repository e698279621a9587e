package auth

import (
	"context"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// trusted is a repository as it is told.
type trusted struct {
	repository, owner int64
	name, environment string
}

// trustedDetail is what the audit log keeps of one.
const trustedDetail = `jsonb_build_object('repository_id', r.repository_id::text, 'repository_owner_id', r.repository_owner_id::text, 'name', r.name, 'environment', r.environment)`

// saveTrusted keeps a repository, or gives one that is there its new name. There is
// none if the team trusts as many others as it may. Of two who say the same at the
// same time both may stand in the log.
func (t teams) saveTrusted(ctx context.Context, team uuid.UUID, told trusted) (*TrustedRepository, error) {
	saved := TrustedRepository{
		RepositoryID: strconv.FormatInt(told.repository, 10), OwnerID: strconv.FormatInt(told.owner, 10), Name: told.name,
	}
	var id *string
	err := t.inTeam(ctx, team, `,
	all_trusted AS (
		SELECT r.repository_id = @repository AND r.repository_owner_id = @owner AND lower(r.environment) = lower(@environment) AS same
		FROM trusted_repositories r JOIN team ON r.team_id = team.id),
	r AS (
		INSERT INTO trusted_repositories (team_id, repository_id, repository_owner_id, name, environment, created_by)
		SELECT team.id, @repository, @owner, @name, @environment, actor.id FROM team, actor
		WHERE (SELECT count(*) FROM all_trusted WHERE NOT same) < @most
		ON CONFLICT (team_id, repository_id, repository_owner_id, lower(environment)) DO UPDATE SET name = excluded.name
		RETURNING id, repository_id, repository_owner_id, name, environment, created_by, created_at),
	made AS (SELECT `+trustedDetail+` AS detail FROM r WHERE NOT EXISTS (SELECT FROM all_trusted WHERE same)),
	audit AS (`+note+`made)
	SELECT r.id::text, COALESCE(r.environment, ''), COALESCE(u.name, ''), COALESCE(r.created_at, now()) FROM team LEFT JOIN r ON true LEFT JOIN users u ON u.id = r.created_by`,
		pgx.NamedArgs{"kind": "repository_trusted", "repository": told.repository, "owner": told.owner, "name": told.name, "environment": told.environment, "most": trustedMost},
		&id, &saved.Environment, &saved.By, &saved.CreatedAt)
	if err != nil || id == nil {
		return nil, err
	}
	saved.ID, saved.CreatedAt = *id, saved.CreatedAt.UTC()
	return &saved, nil
}

func (t teams) trusted(ctx context.Context, team uuid.UUID) ([]TrustedRepository, error) {
	return listInTeam(ctx, t, team, `
	SELECT r.id::text, r.repository_id::text, r.repository_owner_id::text, r.name, r.environment, COALESCE(u.name, ''), r.created_at
	FROM team JOIN trusted_repositories r ON r.team_id = team.id LEFT JOIN users u ON u.id = r.created_by
	ORDER BY lower(r.name), lower(r.environment), r.id`, nil, func(row pgx.CollectableRow) (r TrustedRepository, err error) {
		err = row.Scan(&r.ID, &r.RepositoryID, &r.OwnerID, &r.Name, &r.Environment, &r.By, &r.CreatedAt)
		r.CreatedAt = r.CreatedAt.UTC()
		return r, err
	})
}

// deleteTrusted ends the team's trust in a repository, if there is any.
func (t teams) deleteTrusted(ctx context.Context, team, repository uuid.UUID) error {
	var done bool
	return t.inTeam(ctx, team, `,
	gone AS (
		DELETE FROM trusted_repositories r USING team WHERE r.id = @id AND r.team_id = team.id
		RETURNING `+trustedDetail+` AS detail),
	audit AS (`+note+`gone)
	SELECT true FROM team`, pgx.NamedArgs{"kind": "repository_distrusted", "id": repository}, &done)
}
