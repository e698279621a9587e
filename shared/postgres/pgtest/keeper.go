package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres/server"
)

// `go test ./...` runs a process for each package, several at once, and none of
// them knows which is the last. So the first process that needs a server starts a
// keeper: its own binary once more, detached. Each process holds a shared lock on
// a file, which the kernel lets go however the process ends; the keeper tries for
// that lock alone, and when it has had it for a while, it stops the server and
// ends. In the folder, besides what the server keeps there:
//
//	users       locked: shared by each test process, alone by a keeper that ends
//	start.lock  locked by the process that looks for a server or starts a keeper
//	url         the server's address, there while it may be used
//	keeper.log  what the keeper has said
type keeper struct {
	dir  string
	idle time.Duration // how long the server waits for another user
}

// beKeeper is set for a process that is to be a keeper: IDLE:DIR.
const beKeeper = "PGTEST_KEEPER"

func init() {
	// Before any test, since this may be the binary of any package.
	if text, ok := os.LookupEnv(beKeeper); ok {
		os.Exit(keeperMain(text))
	}
}

func keeperMain(text string) int {
	k, err := parseKeeper(text)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		err = k.keep(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (k keeper) String() string { return k.idle.String() + ":" + k.dir }

func parseKeeper(text string) (keeper, error) {
	idle, dir, _ := strings.Cut(text, ":")
	d, err := time.ParseDuration(idle)
	return keeper{dir: dir, idle: d}, err
}

func (k keeper) path(name string) string { return filepath.Join(k.dir, name) }

// sharedServer returns the address of the server of this machine's tests, which
// stays for as long as this process does.
var sharedServer = sync.OnceValues(func() (string, error) {
	dir, err := server.DefaultDir()
	if err != nil {
		return "", err
	}
	// Long enough to bridge the gap between two packages that need it.
	return keeper{dir: filepath.Join(dir, "test"), idle: 20 * time.Second}.join()
})

// join takes part in the server, started if need be.
func (k keeper) join() (string, error) {
	if err := server.MakeDir(k.dir); err != nil {
		return "", err
	}
	users, err := k.lock("users", syscall.LOCK_SH)
	if err != nil {
		return "", err
	}
	url, err := k.findOrStart()
	if err != nil {
		return "", errors.Join(err, users.Close())
	}
	hold(users)
	return url, nil
}

// held keeps locks from being collected, and so let go, before the process ends.
var held struct {
	sync.Mutex
	files []*os.File
}

func hold(file *os.File) {
	held.Lock()
	defer held.Unlock()
	held.files = append(held.files, file)
}

// lock opens a file of the folder and locks it; a lock that waits waits for as
// long as it takes.
func (k keeper) lock(name string, how int) (*os.File, error) {
	file, err := os.OpenFile(k.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), how)
		switch {
		case err == nil:
			return file, nil
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(err, file.Close())
		}
	}
}

func (k keeper) findOrStart() (string, error) {
	starting, err := k.lock("start.lock", syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer func() { _ = starting.Close() }()
	if url, ok := k.find(); ok {
		return url, nil
	}
	ended, err := k.start()
	if err != nil {
		return "", err
	}
	for {
		if url, ok := k.find(); ok {
			return url, nil
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(k.path("keeper.log"))
			return "", fmt.Errorf("no PostgreSQL server for tests: %s", strings.TrimSpace(string(log)))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// find returns the address of the server if there is one.
func (k keeper) find() (string, bool) {
	url, err := os.ReadFile(k.path("url"))
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, string(url))
	if err != nil {
		return "", false
	}
	return string(url), conn.Close(ctx) == nil
}

// start starts a keeper that outlives this process. The channel is closed when it
// has ended.
func (k keeper) start() (ended <-chan struct{}, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(k.path("keeper.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), beKeeper+"="+k.String())
	cmd.Dir = k.dir
	cmd.Stdout, cmd.Stderr = log, log // and not go test's pipe, which it waits for
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	return done, nil
}

// keep runs the server until nobody has used it for a while.
func (k keeper) keep(ctx context.Context) (err error) {
	// What a killed keeper left may name a server that is about to end.
	if err := os.Remove(k.path("url")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s, err := server.Start(ctx, server.Options{
		Dir: k.dir, Name: "DATABASE_URL", MaxConnections: 400,
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(context.WithoutCancel(ctx))) }()
	if err := clear(ctx, s.URL("postgres")); err != nil {
		return err
	}
	if err := k.publish(s.URL("postgres")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(k.path("url"))) }()
	return k.waitForLast(ctx, s.Done())
}

// clear drops the databases of tests: a server that has just started has none
// that is in use.
func clear(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(sweep(ctx, conn, 0), conn.Close(ctx))
}

// publish writes the address, whole or not at all.
func (k keeper) publish(url string) error {
	if err := os.WriteFile(k.path("url.new"), []byte(url), 0o600); err != nil {
		return err
	}
	return os.Rename(k.path("url.new"), k.path("url"))
}

// waitForLast returns when no process has used the server for k.idle. It keeps
// the lock of the users then, so that the next one waits for this process to end
// and starts a keeper of its own.
func (k keeper) waitForLast(ctx context.Context, ended <-chan struct{}) error {
	look := k.idle / 20
	alone := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return errors.New("the server ended by itself")
		case <-time.After(look):
		}
		users, err := k.lock("users", syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			alone = 0
			continue
		}
		if alone++; time.Duration(alone)*look >= k.idle {
			hold(users)
			return nil
		}
		_ = users.Close()
	}
}
