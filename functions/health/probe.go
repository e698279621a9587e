package health

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
)

// patience is how long a dependency may take to answer.
const patience = time.Second

// probe is a question to one dependency.
type probe struct {
	name   string
	ask    func(context.Context) error
	flight singleflight.Group
}

// outcome is what came of asking.
type outcome struct {
	name  string
	asked time.Time
	took  time.Duration
	err   error
}

// run asks, unless somebody is asking already: then it takes part in their
// answer. So a dependency is asked one thing at a time however many callers
// there are, and one that hangs holds one goroutine and not one a caller. It
// returns within patience even when the question itself does not.
func (p *probe) run(ctx context.Context, now func() time.Time) outcome {
	asked := now()
	answer := p.flight.DoChan("", func() (any, error) {
		// The caller who came first may leave before the others.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		return nil, p.ask(asking)
	})
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case result := <-answer:
		return outcome{p.name, asked, now().Sub(asked), result.Err}
	case <-waiting.Done():
		return outcome{p.name, asked, now().Sub(asked), waiting.Err()}
	}
}

// reason is what may be said outside about a failure. The error itself names
// hosts and accounts, and is for the log.
func reason(err error) string {
	var server *pgconn.PgError
	var network net.Error
	var schema *schemaError
	switch {
	case errors.As(err, &schema):
		return schema.Error()
	case errors.As(err, &server) && strings.HasPrefix(server.Code, "28"), // invalid authorization
		goredis.HasErrorPrefix(err, "WRONGPASS"), goredis.HasErrorPrefix(err, "NOAUTH"), goredis.HasErrorPrefix(err, "NOPERM"):
		return "login refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	case goredis.HasErrorPrefix(err, "OOM"), goredis.HasErrorPrefix(err, "READONLY"), goredis.HasErrorPrefix(err, "MISCONF"):
		return "takes no writes"
	default:
		return "not reachable"
	}
}
