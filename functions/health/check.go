package health

import (
	"context"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/redis"
)

type checker struct {
	release string
	now     func() time.Time
	probes  []*probe
}

// probes are the questions that say whether the product can work.
func probes(db *postgres.Database, cache *redis.Database) []*probe {
	return []*probe{
		{name: "postgres", ask: func(ctx context.Context) error {
			var one int
			return db.QueryRow(ctx, "SELECT 1").Scan(&one)
		}},
		{name: "schema", ask: func(ctx context.Context) error { return askSchema(ctx, db) }},
		{name: "redis", ask: func(ctx context.Context) error {
			commands, err := cache.Commands(ctx)
			if err != nil {
				return err
			}
			// A write too, as every limit makes: one that is full or a replica answers a
			// PING all the same.
			return commands.Send(ctx, []any{"PING"}, []any{"SET", "limit:health", 1, "EX", 1})
		}},
	}
}

type checked struct {
	Status       int
	CacheControl string `header:"Cache-Control"`
	Body         Health
}

func (c *checker) check(ctx context.Context, _ *struct{}) (*checked, error) {
	outcomes := make([]outcome, len(c.probes))
	var all sync.WaitGroup
	for i, p := range c.probes {
		all.Go(func() { outcomes[i] = p.run(ctx, c.now) })
	}
	all.Wait()
	for _, o := range outcomes {
		if o.err != nil {
			httpapi.Note(ctx, o.name, o.err.Error())
		}
	}
	health := newHealth(c.release, outcomes...)
	return &checked{health.httpStatus(), "no-store", health}, nil
}

func (c *checker) live(context.Context, *struct{}) (*checked, error) {
	health := newHealth(c.release)
	return &checked{health.httpStatus(), "no-store", health}, nil
}
