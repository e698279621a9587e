package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres/tunnel"
)

// Run marks the days in the database at DATABASE_URL, says on out how many and
// returns the exit code.
func Run(ctx context.Context, getenv func(string) string, out io.Writer) int {
	address := getenv("DATABASE_URL")
	if address == "" {
		fmt.Fprintln(out, "set DATABASE_URL to the address of the owner of the tables")
		return 2
	}
	days, err := rebuild(ctx, address)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintf(out, "%d days are marked; rollup computes them within its next calls, every other minute. Until then the page says that days are being computed.\n", days)
	return 0
}

func rebuild(ctx context.Context, address string) (days int64, err error) {
	address, end, err := tunnel.Open(ctx, address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end()) }()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("the database at DATABASE_URL does not let us in: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tag, err := conn.Exec(ctx, mark)
	return tag.RowsAffected(), err
}

// mark marks the days of all facts, and those of rollups that may have none.
const mark = `
	WITH zones AS (SELECT r.id AS repository_id, t.time_zone FROM repositories r JOIN teams t ON t.id = r.team_id)
	INSERT INTO dirty_days (rollup, scope, day)
	SELECT 'deployments', d.environment_id, (d.finished_at AT TIME ZONE z.time_zone)::date
	FROM deployments d JOIN environments e ON e.id = d.environment_id JOIN services s ON s.id = e.service_id JOIN zones z USING (repository_id)
	WHERE d.finished_at IS NOT NULL
	UNION SELECT 'deployments', environment_id, day FROM rollup_deployments
	UNION SELECT 'deployments', environment_id, day FROM rollup_samples
	UNION SELECT 'commits', c.repository_id, (c.authored_at AT TIME ZONE z.time_zone)::date FROM commits c JOIN zones z USING (repository_id)
	UNION SELECT 'commits', repository_id, day FROM rollup_commits`
