package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/migrations/migrate"
)

// drainTime is how long requests in flight may take when the server stops.
const drainTime = 8 * time.Second

// Run starts everything, serves until it is told to stop and returns the exit
// code: 2 when what was asked cannot be done as it stands, 1 when something
// broke. What happens is written to out.
func Run(ctx context.Context, args []string, out io.Writer) int {
	o, err := parseOptions(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		if !errors.Is(err, errUsage) {
			fmt.Fprintln(out, err)
		}
		return 2
	}
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, ends...)
	defer stop()
	ctx, orphaned := context.WithCancel(ctx)
	defer orphaned()
	go watchParent(ctx, orphaned)

	err = run(ctx, o, out)
	switch {
	case err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(out, "Stopped.")
		return 0
	default:
		fmt.Fprintln(out, "\n"+err.Error())
		return 1
	}
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	// First, since it is the likeliest to fail and the import may take a while.
	listener, err := listen(o)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	sources, err := openSources(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "DevOps Dashboard")
	stores, err := openStores(ctx, o, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	did, err := migrate.Up(ctx, stores.databaseURL)
	if err != nil && o.databaseURL != "" && ctx.Err() == nil {
		return fmt.Errorf("the database that DATABASE_URL names cannot be used: %w\nStart it or correct DATABASE_URL; unset it to use an embedded database", err)
	}
	if err != nil {
		return err
	}
	if err := stores.signApart(ctx, functions.All); err != nil {
		return err
	}
	line(out, "Schema", "version %d, %d migrations applied", migrations.Version(), len(did.Applied))

	kept, err := openKeep(o.data)
	if err != nil {
		return err
	}
	log := newConsole(out)
	house, err := openHouse(kept, stores, slog.New(log))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = errors.Join(err, house.close(closing))
	}()
	team, zone, err := kept.signIn(ctx, house.inside, o.zone)
	if err != nil {
		return err
	}
	if o.zoneGiven && zone != o.zone {
		line(out, "Time zone", "%s, as it was when the team was made; -reset to begin afresh in another", zone)
	}
	first, err := importAll(ctx, stores.databaseURL, team, sources, out)
	if err != nil {
		return err
	}
	if err := condense(ctx, house.inside, out); err != nil {
		return err
	}
	// The data folder may hold other histories, from earlier starts.
	fmt.Fprintf(out, "\nOpen     %s/?service=%s\nSign in  %s  %s\nCtrl-C stops everything.\n\n", address(o, listener), first, kept.Email, kept.Password)
	log.serving.Store(true)
	return serve(ctx, listener, house, stores.ended)
}

// address is where a browser on this machine finds the product.
func address(o options, listener net.Listener) string {
	scheme := "http"
	if o.tls {
		scheme = "https"
	}
	at := listener.Addr().(*net.TCPAddr)
	host := at.IP.String()
	if at.IP.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(at.Port))
}

func listen(o options) (net.Listener, error) {
	listener, err := net.Listen("tcp", o.addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another program; stop that one, or choose another with -addr HOST:PORT", o.addr)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot serve on %s: %w; choose another address with -addr HOST:PORT", o.addr, err)
	}
	if !o.tls {
		return listener, nil
	}
	return secure(listener)
}

// serve answers until ctx ends, then lets the requests in flight finish. The
// schedules that Cloud Scheduler would keep are called every minute.
//
// databaseEnded, which may be nil, is closed when there is no more database.
func serve(ctx context.Context, listener net.Listener, h *house, databaseEnded <-chan struct{}) error {
	s := newServer(h.front, h.log)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-databaseEnded:
			return errors.Join(errors.New("PostgreSQL ended by itself; postgres.log in the data folder says why. Start again"), s.Close())
		case <-minute.C:
			h.inside.callSchedules(ctx)
		case <-ctx.Done():
			draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
			defer cancel()
			return s.Shutdown(draining)
		}
	}
}

// line writes one aligned line of what was done.
func line(out io.Writer, what, format string, args ...any) {
	fmt.Fprintf(out, "  %-10s %s\n", what, fmt.Sprintf(format, args...))
}
