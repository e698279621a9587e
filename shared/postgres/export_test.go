package postgres

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// NewDatabase is For with further options for the Cloud SQL dialer.
var NewDatabase = newDatabase

// Opening returns a database that is opened by open.
func Opening(open func(context.Context) (*pgxpool.Pool, func() error, error)) *Database {
	return &Database{open: open}
}

// Redialing returns the dial function of a Cloud SQL instance over another.
func Redialing(now func() time.Time, dial func(context.Context) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return (&redial{now: now, dial: dial}).Dial
}
