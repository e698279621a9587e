package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// NewDatabase is For with further options for the Cloud SQL dialer.
var NewDatabase = newDatabase

// Opening returns a database that is opened by open.
func Opening(open func(context.Context) (*pgxpool.Pool, func() error, error)) *Database {
	return &Database{open: open}
}
