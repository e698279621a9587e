package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/server"
)

// stores are the PostgreSQL and Redis of this run: embedded, unless the
// environment names others.
type stores struct {
	databaseURL, redisURL string            // the database's owner signs in with it
	logins                map[string]string // the database's address by function, where it is embedded
	ended                 <-chan struct{}   // closed when the embedded PostgreSQL ends by itself
	closers               []func() error
}

func openStores(ctx context.Context, o options, out io.Writer) (*stores, error) {
	s := &stores{databaseURL: o.databaseURL, redisURL: o.redisURL}
	if s.databaseURL != "" {
		line(out, "PostgreSQL", "as DATABASE_URL says")
	} else if err := s.startPostgres(ctx, o, out); err != nil {
		return nil, err
	}
	if s.redisURL != "" {
		if err := pingRedis(ctx, s.redisURL); err != nil {
			line(out, "Redis", "as REDIS_URL says, but it does not answer: %v", err)
			return s, nil
		}
		line(out, "Redis", "as REDIS_URL says")
		return s, nil
	}
	redis := miniredis.NewMiniRedis()
	if err := redis.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start Redis in process: %w", err), s.close())
	}
	s.closers = append(s.closers, func() error { redis.Close(); return nil })
	s.redisURL = "redis://" + redis.Addr()
	line(out, "Redis", "in process")
	return s, nil
}

func (s *stores) startPostgres(ctx context.Context, o options, out io.Writer) error {
	if o.reset {
		if err := errors.Join(server.Reset(o.data), dropKeep(o.data)); err != nil {
			return err
		}
	}
	started := time.Now()
	postgres, err := server.Start(ctx, server.Options{
		Dir: o.data, Durable: true,
		Log: func(format string, args ...any) { line(out, "PostgreSQL", format, args...) },
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error {
		// A stop that was asked for twice must still stop the server.
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return postgres.Stop(stopping)
	})
	s.databaseURL, s.ended = postgres.URL("postgres"), postgres.Done()
	line(out, "PostgreSQL", "%s, data in %s, started in %s", postgres.Version, o.data, took(started))
	return nil
}

// signApart gives each function a login of its own to the embedded PostgreSQL, as
// it has in the cloud, so that a right that is missing is missed here first. Who
// owns another database decides about its logins.
func (s *stores) signApart(ctx context.Context, fns []function.Function) error {
	if s.ended == nil {
		return nil
	}
	owner, err := url.Parse(s.databaseURL)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.databaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	s.logins = map[string]string{}
	for _, fn := range fns {
		if function.DatabaseRole(fn) == "" {
			continue
		}
		member := migrate.Member{Function: fn.Name, Login: "local_" + fn.Name}
		// No password: the socket's folder is closed to others.
		if err := migrate.Login(ctx, conn, member, ""); err != nil {
			return err
		}
		login := *owner
		login.User = url.User(member.Login)
		s.logins[fn.Name] = login.String()
	}
	return nil
}

// database is the address at which a function signs in.
func (s *stores) database(fn string) string {
	if login, apart := s.logins[fn]; apart {
		return login
	}
	return s.databaseURL
}

// pool is the most connections of a pool: of each function's, or of the one that
// they share. Together the pools stay well below the 100 of a server.
func (s *stores) pool() string {
	if s.logins != nil {
		return "8"
	}
	return "16"
}

func pingRedis(ctx context.Context, address string) error {
	options, err := goredis.ParseURL(address)
	if err != nil {
		return err
	}
	client := goredis.NewClient(options)
	defer func() { _ = client.Close() }()
	pinging, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return client.Ping(pinging).Err()
}

func (s *stores) close() error {
	var errs []error
	for _, stop := range s.closers {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

func took(since time.Time) string {
	return time.Since(since).Round(10 * time.Millisecond).String()
}

// release is the commit that runs here, when this is a checkout of the product.
var release = sync.OnceValue(func() string {
	module, err := exec.Command("go", "list", "-m").Output()
	if err != nil || !strings.HasPrefix(string(module), "github.com/devops-dashboard/dashboard") {
		return ""
	}
	commit, _ := exec.Command("git", "rev-parse", "HEAD").Output()
	return strings.TrimSpace(string(commit))
})
