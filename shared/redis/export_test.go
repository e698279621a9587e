package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// Open returns a client as the database has one.
func (d *Database) Open(ctx context.Context) (*goredis.Client, error) { return d.open(ctx) }
