package pgtest

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// beUser is set for a process that is to use a keeper's server until it is ended.
const beUser = "PGTEST_USER"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(beUser); ok {
		k, err := parseKeeper(text)
		if err != nil {
			panic(err)
		}
		url, err := k.join()
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(url + "\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// user is a process that uses the keeper's server. It ends when it is killed or
// its standard input is closed.
type user struct {
	*exec.Cmd
	url   string
	leave func()
}

func startUser(t *testing.T, k keeper) user {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), beUser+"="+k.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return user{Cmd: cmd, url: strings.TrimSpace(url), leave: func() { _ = in.Close(); _ = cmd.Wait() }}
}

func newKeeper(t *testing.T, idle time.Duration) keeper {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "keeper")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return keeper{dir: filepath.Join(dir, "test"), idle: idle}
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var answer T
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func startedAt(t *testing.T, url string) time.Time {
	t.Helper()
	return query[time.Time](t, url, "SELECT pg_postmaster_start_time()")
}

// postmaster is the server's process.
func (k keeper) postmaster(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(k.path("postgres/postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond) // for another process, which says nothing
	}
}

func gone(pid int) func() bool {
	return func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
}

func TestServerIsSharedAndEndsAfterTheLastUser(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, 400*time.Millisecond)
	users := make([]user, 3)
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() { users[i] = startUser(t, k) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	began := startedAt(t, users[0].url)
	for _, u := range users[1:] {
		if other := startedAt(t, u.url); !other.Equal(began) {
			t.Errorf("a second server was started: %v, %v", began, other)
		}
	}
	server := k.postmaster(t)
	users[0].leave()
	_ = users[1].Process.Kill()
	_ = users[1].Wait()
	// Longer than the idle time: one user is enough.
	query[string](t, users[2].url, "SELECT pg_sleep(1)::text")
	query[string](t, users[2].url, "SELECT ''")
	_ = users[2].Process.Kill()
	_ = users[2].Wait()
	until(t, "the server's end", gone(server))
	until(t, "the keeper's end", func() bool {
		file, err := k.lock("users", syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			_ = file.Close()
		}
		return err == nil
	})
	if _, err := os.Stat(k.path("url")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the address stays behind: %v", err)
	}

	again := startUser(t, k)
	if startedAt(t, again.url).Equal(began) {
		t.Error("not a new server")
	}
	again.leave()
	until(t, "the second server's end", gone(k.postmaster(t)))
}

func TestKilledKeeperIsReplaced(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, time.Second)
	first := startUser(t, k)
	left := databaseName(time.Now())
	run(t, first.url, "CREATE DATABASE "+left)
	run(t, first.url, "CREATE DATABASE template_of_now")
	server := k.postmaster(t)
	keeperOf := parentOf(t, server)
	if err := syscall.Kill(keeperOf, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := startUser(t, k)
	if k.postmaster(t) == server {
		t.Error("the old server still runs")
	}
	if n := query[int](t, second.url, "SELECT count(*) FROM pg_database WHERE datname = '"+left+"'"); n != 0 {
		t.Error("the database of a killed run is still there")
	}
	if n := query[int](t, second.url, "SELECT count(*) FROM pg_database WHERE datname = 'template_of_now'"); n != 1 {
		t.Error("a template that is in use is gone")
	}
	first.leave()
	second.leave()
	until(t, "the server's end", gone(k.postmaster(t)))
}

// parentOf is the process that started the server.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Skipf("no ps on this machine: apt-get install procps (%v)", err)
	}
	parent, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || parent <= 1 {
		t.Fatalf("the parent of %d: %q", pid, out)
	}
	return parent
}

func TestEndedKeeperStopsItsServer(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, time.Minute)
	u := startUser(t, k)
	server := k.postmaster(t)
	if err := syscall.Kill(parentOf(t, server), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the server's end", gone(server))
	u.leave()
}

func TestKeeperEndsWithItsServer(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, time.Minute)
	u := startUser(t, k)
	server := k.postmaster(t)
	parent := parentOf(t, server)
	if err := syscall.Kill(server, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The user is the keeper's parent and waits for it, so that no trace remains.
	until(t, "the keeper's end", gone(parent))
	log, err := os.ReadFile(k.path("keeper.log"))
	if err != nil || !strings.Contains(string(log), "ended by itself") {
		t.Errorf("the log says %q, %v", log, err)
	}
	u.leave()
}

func TestKeeperThatCannotStart(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, time.Second)
	if err := os.MkdirAll(k.path("postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.path("postgres/PG_VERSION"), []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(k.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := k.join(); err == nil || !strings.Contains(err.Error(), "is of PostgreSQL 12") {
		t.Errorf("want the reason, got %v", err)
	}
}

func TestKeeperMainRefusesNonsense(t *testing.T) {
	t.Parallel()
	if code := keeperMain("nonsense"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	k := keeper{dir: "/some:where", idle: 3 * time.Second}
	if got, err := parseKeeper(k.String()); err != nil || got != k {
		t.Errorf("got %v, %v", got, err)
	}
}

// The other tests see a keeper from outside; here it runs in this process.
func TestKeepReturnsWhenNobodyIsLeft(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, 200*time.Millisecond)
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	user, err := k.lock("users", syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan error, 1)
	go func() { kept <- k.keep(t.Context()) }()
	until(t, "the server", func() bool { _, ok := k.find(); return ok })
	select {
	case err := <-kept:
		t.Fatalf("the keeper went, with a user there: %v", err)
	case <-time.After(2 * k.idle):
	}
	_ = user.Close()
	if err := <-kept; err != nil {
		t.Error(err)
	}
	if _, ok := k.find(); ok {
		t.Error("the address stays behind")
	}
}
