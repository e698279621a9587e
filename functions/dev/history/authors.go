package history

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// storedAuthors returns the ids of a repository's authors.
func storedAuthors(ctx context.Context, tx pgx.Tx, repository uuid.UUID) (map[Author]int64, error) {
	rows, err := tx.Query(ctx, `SELECT id, name, email FROM authors WHERE repository_id = $1`, repository)
	if err != nil {
		return nil, err
	}
	return collectAuthors(rows)
}

// insertAuthors stores authors that have no row and returns their ids. The lock
// on the repository keeps others from storing the same.
func insertAuthors(ctx context.Context, tx pgx.Tx, repository uuid.UUID, authors []Author) (map[Author]int64, error) {
	if len(authors) == 0 {
		return nil, nil
	}
	names, emails := make([]string, len(authors)), make([]string, len(authors))
	for i, a := range authors {
		names[i], emails[i] = a.Name, a.Email
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO authors (repository_id, name, email)
		SELECT $1, name, email FROM unnest($2::text[], $3::text[]) AS a (name, email)
		RETURNING id, name, email`,
		repository, names, emails)
	if err != nil {
		return nil, err
	}
	return collectAuthors(rows)
}

func collectAuthors(rows pgx.Rows) (map[Author]int64, error) {
	ids := map[Author]int64{}
	var id int64
	var a Author
	_, err := pgx.ForEachRow(rows, []any{&id, &a.Name, &a.Email}, func() error {
		ids[a] = id
		return nil
	})
	return ids, err
}

// deleteIdleAuthors removes the authors whose last commit is gone.
func deleteIdleAuthors(ctx context.Context, tx pgx.Tx, repository uuid.UUID) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM authors a
		WHERE a.repository_id = $1
		AND NOT EXISTS (SELECT FROM commits c WHERE c.repository_id = $1 AND c.author_id = a.id)`,
		repository)
	return err
}
