package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
)

// makeToken keeps a new token. It tells whether there was room for one.
func (t teams) makeToken(ctx context.Context, team uuid.UUID, token APIToken, lifetime time.Duration, secret access.Digest) (_ APIToken, room bool, err error) {
	var id *string
	var created, expires *time.Time
	err = t.inTeam(ctx, team, `,
	k AS (
		INSERT INTO api_tokens (team_id, name, scope, secret_hash, created_by, expires_at)
		SELECT team.id, @name, @scope, @secret, actor.id, now() + @lifetime::interval FROM team, actor
		WHERE (SELECT count(*) FROM api_tokens k WHERE k.team_id = team.id AND k.revoked_at IS NULL AND k.expires_at > now()) < @most
		RETURNING id, created_at, expires_at, jsonb_build_object('token', id, 'name', name, 'scope', scope) AS detail),
	audit AS (`+note+`k)
	SELECT k.id::text, k.created_at, k.expires_at FROM team LEFT JOIN k ON true`,
		pgx.NamedArgs{"kind": "token_made", "name": token.Name, "scope": token.Scope, "secret": secret.Bytes(), "lifetime": lifetime, "most": tokensMost},
		&id, &created, &expires)
	if err != nil || id == nil {
		return token, false, err
	}
	token.ID, token.CreatedAt, token.ExpiresAt = *id, created.UTC(), expires.UTC()
	return token, true, nil
}

// tokens lists those that are good, the newest first.
func (t teams) tokens(ctx context.Context, team uuid.UUID) ([]APIToken, error) {
	return listInTeam(ctx, t, team, `
	SELECT k.id::text, k.name, k.scope, COALESCE(u.name, ''), k.created_at, k.expires_at, k.last_used_at
	FROM team JOIN api_tokens k ON k.team_id = team.id AND k.revoked_at IS NULL AND k.expires_at > now()
		LEFT JOIN users u ON u.id = k.created_by
	ORDER BY k.created_at DESC, k.id`, nil, func(row pgx.CollectableRow) (k APIToken, err error) {
		err = row.Scan(&k.ID, &k.Name, &k.Scope, &k.By, &k.CreatedAt, &k.ExpiresAt, &k.LastUsedAt)
		k.CreatedAt, k.ExpiresAt = k.CreatedAt.UTC(), k.ExpiresAt.UTC()
		if k.LastUsedAt != nil {
			*k.LastUsedAt = k.LastUsedAt.UTC()
		}
		return k, err
	})
}

// revokeToken tells whether the team has such a token, good or not.
func (t teams) revokeToken(ctx context.Context, team, token uuid.UUID) (known bool, err error) {
	err = t.inTeam(ctx, team, `,
	k AS (
		UPDATE api_tokens k SET revoked_at = clock_timestamp() FROM team WHERE k.id = @id AND k.team_id = team.id AND k.revoked_at IS NULL
		RETURNING jsonb_build_object('token', k.id, 'name', k.name) AS detail),
	audit AS (`+note+`k)
	SELECT EXISTS (SELECT FROM api_tokens k WHERE k.id = @id AND k.team_id = team.id) FROM team`,
		pgx.NamedArgs{"kind": "token_revoked", "id": token}, &known)
	return known, err
}
