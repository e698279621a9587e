// Package redis opens the one Redis client of a process. What is kept in Redis
// and what happens when it is away is left to those who use it.
package redis

import (
	"context"
	"errors"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Need declares that a function uses Redis.
var Need = function.Need{Name: "redis", Settings: []function.Setting{
	{Name: "REDIS_URL", Secret: true, Doc: "where Redis is: rediss://default:PASSWORD@HOST:PORT"},
}}

// init silences go-redis, which writes plain text to stderr, past the log: what
// it says there it also returns as errors.
func init() { goredis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Database is a client that is made at its first use.
type Database struct {
	url    *secrets.Value
	traced bool

	mu       sync.Mutex
	commands *Commands
}

// For returns the process's client.
func For(env *function.Env) *Database {
	return function.Shared(env, Need, func() *Database {
		d := &Database{url: secrets.For(env, "REDIS_URL"), traced: env.Traced()}
		env.OnStop(d.close)
		return d
	})
}

// Commands returns what the client can be asked, which is made at the first call. It
// connects when it is first asked something.
func (d *Database) Commands(ctx context.Context) (*Commands, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.commands != nil {
		return d.commands, nil
	}
	client, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	d.commands = Over(client)
	return d.commands, nil
}

func (d *Database) open(ctx context.Context) (*goredis.Client, error) {
	url, err := d.url.Get(ctx)
	if err != nil {
		return nil, err
	}
	options, err := Options(url)
	if err != nil {
		return nil, fault.Away("Redis", err)
	}
	client := goredis.NewClient(options)
	if d.traced {
		client.AddHook(spans{})
	}
	return client, nil
}

// Options are those of a client for the Redis at url. The error does not repeat it.
func Options(url string) (*goredis.Options, error) {
	options, err := goredis.ParseURL(url)
	if err != nil {
		return nil, errors.New("REDIS_URL is not a redis:// or rediss:// URL")
	}
	// Cloud Run takes the CPU away between requests, so idle connections die
	// unseen: keep few, for a short time, and give up early.
	options.PoolSize = 8
	options.ConnMaxIdleTime = time.Minute
	options.DialTimeout = 500 * time.Millisecond
	options.DialerRetries = 1 // of five by default, with pauses: what is repeated is the command
	// Callers bound what they ask by its context; this is for those who do not.
	options.ReadTimeout = 5 * time.Second
	options.WriteTimeout = 5 * time.Second
	options.MaxRetries = 1
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true // saves two commands per connection
	// Automatic, it looks the host up for two seconds at most before it does anything,
	// and sends a command that plain Redis lacks.
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

func (d *Database) close(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.commands == nil {
		return nil
	}
	return d.commands.close()
}
