package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// asParent names the folder of a run of this binary that starts a server and
// waits to be killed.
const asParent = "SERVER_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asParent); dir != "" {
		os.Exit(beParent(dir))
	}
	code := m.Run()
	if preparedDir != "" {
		_ = os.RemoveAll(preparedDir)
	}
	os.Exit(code)
}

func beParent(dir string) int {
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println("failed:", strings.ReplaceAll(err.Error(), "\n", " "))
		return 1
	}
	fmt.Println("runs:", s.process.pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// parent starts this binary in a process of its own, as who if that is not nil,
// with a server in dir. It returns what it said first.
func parent(t *testing.T, binary, dir string, who *syscall.Credential) (cmd *exec.Cmd, stdin io.Closer, said string) {
	t.Helper()
	cmd = exec.Command(binary)
	cmd.Env = append(os.Environ(), asParent+"="+dir, "GOCOVERDIR="+filepath.Dir(dir))
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
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
	line, _ := bufio.NewReader(out).ReadString('\n')
	return cmd, in, strings.TrimSpace(line)
}

func local(t *testing.T) {
	t.Helper()
	if len(find(t.Context(), account{}, localDirs(t.Context()))) == 0 {
		t.Skip("no PostgreSQL server on this machine: apt-get install postgresql")
	}
}

// folderFor is a fresh folder that the server's account may enter.
func folderFor(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// prepared is the data of a server that was never used, made once and copied:
// initdb takes its time.
var (
	preparedDir string
	prepared    = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("/tmp", "pg")
		if err != nil {
			return "", err
		}
		preparedDir = dir
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
		s, err := Start(context.Background(), Options{Dir: dir})
		if err != nil {
			return "", err
		}
		return dir, s.Stop(context.Background())
	})
)

// prepare is a folder with data that was never used.
func prepare(t *testing.T) string {
	t.Helper()
	from, err := prepared()
	if err != nil {
		t.Fatal(err)
	}
	dir := folderFor(t)
	if out, err := exec.Command("cp", "-a", filepath.Join(from, "postgres"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func begin(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func ask[T any](t *testing.T, s *Server, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := pgx.CollectOneRow(rows, pgx.RowTo[T])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}
	return answer
}

// wantGone fails the test when a server of dir still runs.
func wantGone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for commandLine(pid) != "" {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there: %s", pid, commandLine(pid))
		}
		wait(t.Context(), pause)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("want %q in: %v", part, err)
		}
	}
}

func TestStartKeepsDataAndStopLeavesNothing(t *testing.T) {
	t.Parallel()
	local(t)
	dir := filepath.Join(folderFor(t), "new", "data")
	var told []string
	o := Options{Dir: dir, Durable: true, MaxConnections: 33, Log: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }}
	cold := time.Now()
	s := begin(t, o)
	t.Logf("cold start: %v", time.Since(cold))
	if len(told) != 1 || !strings.Contains(told[0], "preparing PostgreSQL "+s.Version) {
		t.Errorf("told %q", told)
	}
	if got := ask[string](t, s, "SELECT concat_ws(' ', current_setting('max_connections'), current_setting('fsync'), current_setting('server_encoding'), current_setting('listen_addresses'))"); got != "33 on UTF8 " {
		t.Errorf("settings: %q", got)
	}
	if got := ask[string](t, s, "SHOW server_version"); !strings.HasPrefix(got, s.Version) {
		t.Errorf("Version is %s, the server says %s", s.Version, got)
	}
	// A Ctrl-C of the terminal goes to our group, and is ours to act on first.
	if group, err := syscall.Getpgid(s.process.pid); err != nil || group != s.process.pid {
		t.Errorf("the server, process %d, is in the process group %d, %v", s.process.pid, group, err)
	}
	ask[any](t, s, "CREATE TABLE kept AS SELECT 7 AS n")
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantGone(t, s.process.pid)
	if left, _ := filepath.Glob(filepath.Join(dir, "socket", ".*")); len(left) > 0 {
		t.Errorf("sockets stay behind: %s", left)
	}

	told = nil
	warm := time.Now()
	s = begin(t, o)
	took := time.Since(warm)
	t.Logf("warm start: %v", took)
	if took > 5*time.Second { // well under one on a quiet machine
		t.Errorf("a warm start took %v", took)
	}
	if len(told) > 0 {
		t.Errorf("told %q at a warm start", told)
	}
	if got := ask[int](t, s, "SELECT n FROM kept"); got != 7 {
		t.Errorf("kept %d", got)
	}
}

func TestStopThatMayNotWait(t *testing.T) {
	t.Parallel()
	local(t)
	dir := prepare(t)
	s := begin(t, Options{Dir: dir, Durable: true})
	ask[any](t, s, "CREATE TABLE kept AS SELECT 7 AS n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	wantGone(t, s.process.pid)
	if got := ask[int](t, begin(t, Options{Dir: dir}), "SELECT n FROM kept"); got != 7 {
		t.Errorf("kept %d", got)
	}
}

func TestStopOfAServerThatHangs(t *testing.T) {
	t.Parallel()
	local(t)
	s := begin(t, Options{Dir: prepare(t), patience: time.Second})
	if err := syscall.Kill(s.process.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, s.Stop(ctx), "was killed")
	wantGone(t, s.process.pid)
}

func TestOnlyThisUserMayConnect(t *testing.T) {
	t.Parallel()
	local(t)
	if os.Geteuid() != 0 {
		t.Skip("trying as another user takes root: sudo go test")
	}
	s := begin(t, Options{Dir: prepare(t)})
	cmd := exec.Command("/bin/sh", "-c", "ls "+s.folder.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("another user sees the socket: %s", out)
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	local(t)
	dir := prepare(t)
	s := begin(t, Options{Dir: dir})
	_, err := Start(t.Context(), Options{Dir: dir})
	wantError(t, err, dir, "in use by another run", strconv.Itoa(os.Getpid()), "-data")
	wantError(t, Reset(dir), dir, "in use by another run")
	_, err = Start(t.Context(), Options{Dir: dir, Name: "-elsewhere"})
	wantError(t, err, "-elsewhere")
	if got := ask[int](t, s, "SELECT 1"); got != 1 {
		t.Error("the server in use was disturbed")
	}
}

func TestKilledParent(t *testing.T) {
	t.Parallel()
	local(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := prepare(t)
	for range 2 {
		cmd, _, said := parent(t, self, dir, nil)
		pid, err := strconv.Atoi(strings.TrimPrefix(said, "runs: "))
		if err != nil {
			t.Fatal(said)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s := begin(t, Options{Dir: dir})
		if s.process.pid == pid || ask[int](t, s, "SELECT 1") != 1 {
			t.Error("not a server of our own")
		}
		wantGone(t, pid)
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKilledParentDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	local(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// What initdb has come to when we are killed.
	for _, at := range []string{"PG_VERSION", "global/pg_control", "base/1/PG_VERSION", "base/4/PG_VERSION"} {
		t.Run(strings.ReplaceAll(at, "/", " "), func(t *testing.T) {
			t.Parallel()
			dir := folderFor(t)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), asParent+"="+dir, "GOCOVERDIR="+dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			for waiting := true; waiting; {
				select {
				case <-ended:
					t.Logf("too slow to see %s", at)
					waiting = false
				case <-time.After(pause / 10):
					made, _ := filepath.Glob(filepath.Join(dir, "postgres.new*", at))
					waiting = len(made) == 0
				}
			}
			_ = cmd.Process.Kill()
			<-ended
			s := begin(t, Options{Dir: dir})
			if ask[int](t, s, "SELECT 1") != 1 {
				t.Error("no answer")
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A second start finds no initdb that still writes.
			begin(t, Options{Dir: dir})
			if left, _ := filepath.Glob(filepath.Join(dir, "postgres.new*")); len(left) > 0 {
				t.Errorf("half a data folder stays behind: %s", left)
			}
		})
	}
}

func TestInitdbThatOutlivesItsRun(t *testing.T) {
	t.Parallel()
	local(t)
	if runtime.GOOS != "linux" {
		t.Skip("how it ends by itself is Linux's way: see dieWithParent")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := folderFor(t)
	until := func(what string, done func() bool) {
		for deadline := time.Now().Add(time.Minute); !done() && wait(t.Context(), pause/10); {
			if time.Now().After(deadline) {
				t.Errorf("waited for %s in vain", what)
				return
			}
		}
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asParent+"="+dir, "GOCOVERDIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	halfway := func() bool {
		made, _ := filepath.Glob(filepath.Join(dir, "postgres.new*", "PG_VERSION"))
		return len(made) > 0
	}
	until("data", halfway)
	orphan := 0
	until("initdb", func() bool {
		processes, _ := filepath.Glob("/proc/[0-9]*")
		for _, process := range processes {
			pid, _ := strconv.Atoi(filepath.Base(process))
			if strings.Contains(commandLine(pid), "/initdb -D "+dir+"/") {
				orphan = pid
			}
		}
		return orphan != 0
	})
	if orphan == 0 {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.FailNow()
	}
	// It comes to itself when the next run's is halfway.
	_ = syscall.Kill(orphan, syscall.SIGSTOP)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	woken := make(chan struct{})
	s := begin(t, Options{Dir: dir, Log: func(string, ...any) {
		go func() {
			defer close(woken)
			until("the next initdb", halfway)
			_ = syscall.Kill(orphan, syscall.SIGCONT)
		}()
	}})
	<-woken
	wantGone(t, orphan)
	if ask[int](t, s, "SELECT 1") != 1 {
		t.Error("no answer")
	}
}

func TestHalfMadeDataThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	local(t)
	o := Options{Dir: prepare(t)}
	half := filepath.Join(o.Dir, "postgres.new.1")
	if err := os.MkdirAll(filepath.Join(half, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	hold, release := []string{"chmod", "500"}, []string{"chmod", "700"}
	if os.Geteuid() == 0 {
		hold, release = []string{"chattr", "+i"}, []string{"chattr", "-i"}
	}
	if out, err := exec.Command(hold[0], hold[1], half).CombinedOutput(); err != nil {
		t.Skipf("this file system deletes everything: %v: %s", err, out)
	}
	let := func() error { return exec.Command(release[0], release[1], half).Run() }
	t.Cleanup(func() { _ = let() })
	if err := begin(t, o).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := let(); err != nil {
		t.Fatal(err)
	}
	begin(t, o)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a data folder stays behind: %v", err)
	}
}

func TestLeftoverServerIsEnded(t *testing.T) {
	t.Parallel()
	local(t)
	for name, before := range map[string]func(*Server){
		"well":    func(*Server) {},
		"stopped": func(s *Server) { _ = syscall.Kill(s.process.pid, syscall.SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Dir: prepare(t), patience: time.Second}
			left := begin(t, o)
			ask[any](t, left, "CREATE TABLE kept AS SELECT 7 AS n")
			left.unlock() // as if its owner had been killed, on a system that lets children live
			before(left)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, err := Start(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Stop(t.Context()) }()
			wantGone(t, left.process.pid)
			<-left.Done()
			if got := ask[int](t, s, "SELECT n FROM kept"); got != 7 {
				t.Errorf("kept %d", got)
			}
		})
	}
}

func TestCrashedServer(t *testing.T) {
	t.Parallel()
	local(t)
	o := Options{Dir: prepare(t)}
	for range 3 {
		s := begin(t, o)
		// A backend at work, which outlives the postmaster for a moment.
		conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		busy := make(chan error, 1)
		go func() {
			_, err := conn.Exec(context.Background(), "SELECT pg_sleep(600)")
			busy <- err
		}()
		s.Kill()
		<-s.Done()
		begin(t, o).Kill()
		if err := <-busy; err == nil {
			t.Error("a backend survived")
		}
	}
}

func TestRecycledPid(t *testing.T) {
	t.Parallel()
	local(t)
	o := Options{Dir: prepare(t)}
	s := begin(t, o)
	s.Kill()
	// The same user's, so that PostgreSQL by itself takes it for a server.
	other := s.folder.account.as(exec.Command("sleep", "600"))
	other.Dir = "/"
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	path := filepath.Join(s.folder.data, "postmaster.pid")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	for _, pid := range []string{strconv.Itoa(other.Process.Pid), "nonsense", "-1", "", "999999999"} {
		if err := os.WriteFile(path, []byte(pid+"\n"+rest), 0o600); err != nil {
			t.Fatal(err)
		}
		s := begin(t, o)
		s.Kill()
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the other program was hit: %v", err)
	}
}

func TestServerOfAnotherProgram(t *testing.T) {
	t.Parallel()
	local(t)
	o := Options{Dir: prepare(t)}
	s := begin(t, o)
	data, account := s.folder.data, s.folder.account
	bin := find(t.Context(), account, localDirs(t.Context()))[0].dir
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := account.as(exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", s.folder.socket+"/.", "-c", "listen_addresses="))
	other.Dir = data
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Signal(syscall.SIGINT); _ = other.Wait() }()
	if err := (&process{done: make(chan struct{})}).ready(t.Context(), s.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), o)
	wantError(t, err, data, "another program", strconv.Itoa(other.Process.Pid))
	wantError(t, Reset(o.Dir), "another program")
	if commandLine(other.Process.Pid) == "" {
		t.Error("the other server was ended")
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	local(t)
	dir := prepare(t)
	if err := Reset(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := begin(t, Options{Dir: dir})
	ask[any](t, s, "CREATE TABLE kept AS SELECT 7 AS n")
	s.Kill()
	if err := MakeDir(filepath.Join(dir, "postgres.new.1", "base")); err != nil {
		t.Fatal(err)
	}
	if err := Reset(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "postgres*")); len(left) > 0 {
		t.Errorf("Reset left %s", left)
	}
	s = begin(t, Options{Dir: dir})
	if got := ask[int](t, s, "SELECT count(*)::int FROM pg_class WHERE relname = 'kept'"); got != 0 {
		t.Error("Reset kept data")
	}
	if _, err := os.Stat(filepath.Join(dir, "keys")); err != nil {
		t.Errorf("Reset deleted what is not the server's: %v", err)
	}
}

func TestDataOfAnotherMajorVersion(t *testing.T) {
	t.Parallel()
	local(t)
	dir := folderFor(t)
	if err := os.MkdirAll(filepath.Join(dir, "postgres"), 0o755); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(dir, "postgres", "PG_VERSION")
	for text, want := range map[string][]string{
		"12\n":  {dir, "is of PostgreSQL 12", "install PostgreSQL 12", "-reset", "-data"},
		"huh\n": {dir, "no PostgreSQL data that could be read", "-reset"},
	} {
		if err := os.WriteFile(version, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Options{Dir: dir})
		wantError(t, err, want...)
	}
	// After Reset it starts.
	if err := Reset(dir); err != nil {
		t.Fatal(err)
	}
	begin(t, Options{Dir: dir})
}

func TestFolderThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(folderFor(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/dev/null/x"} {
		_, err := Start(t.Context(), Options{Dir: dir})
		wantError(t, err, "the data folder "+dir+" cannot be used", "-data")
	}
	_, err := Start(t.Context(), Options{})
	wantError(t, err, "needs a folder")
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postgres/PG_VERSION", "postgres/postmaster.pid", "server.lock", "socket"} {
		dir := folderFor(t)
		// Something else stands where the file, or the folder, should be.
		path := filepath.Join(dir, name)
		place := func() error { return os.MkdirAll(filepath.Join(path, "x"), 0o755) }
		if name == "socket" {
			place = func() error { return os.WriteFile(path, nil, 0o644) }
		}
		if err := place(); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Options{Dir: dir})
		wantError(t, err, "the data folder "+dir+" cannot be used", filepath.Base(name), "-data")
	}
	dir := folderFor(t)
	if err := os.MkdirAll(filepath.Join(dir, "postgres", "PG_VERSION", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantError(t, Reset(dir), "the data folder "+dir+" cannot be used")
	wantError(t, Reset(""), "needs a folder")
	wantError(t, MakeDir(""), "needs a folder")
	if err := MakeDir(filepath.Join(dir, "a", "b")); err != nil {
		t.Error(err)
	}
}

func TestFolderClosedToTheAccount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another account: sudo go test")
	}
	closed := filepath.Join(folderFor(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: filepath.Join(closed, "data")})
	wantError(t, err, "who may not enter "+closed, "-data")
	if left, _ := filepath.Glob(filepath.Join(closed, "*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
	_, err = Start(t.Context(), Options{Dir: folderFor(t), accounts: []string{"no-such-account"}})
	wantError(t, err, "refuses to run as root", "no-such-account")
}

func TestAsNobody(t *testing.T) {
	t.Parallel()
	local(t)
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another account: sudo go test")
	}
	s := begin(t, Options{Dir: folderFor(t), accounts: []string{"no-such-account", "nobody"}})
	if ask[int](t, s, "SELECT 1") != 1 || s.folder.account.name != "nobody" {
		t.Error("not run by nobody")
	}
	info, err := os.Stat(s.folder.data)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("the data is root's: %v", err)
	}
	// No group of root's came along.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.pid))
	if err == nil && !strings.Contains(string(status), fmt.Sprintf("Groups:\t%d \n", s.folder.account.gid)) {
		t.Errorf("groups were not dropped: %s", status)
	}
}

func TestAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	local(t)
	if os.Geteuid() != 0 {
		return // the other tests do
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	// The test binary lies where only root may go.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := folderFor(t)
	binary := filepath.Join(dir, "test")
	if err := os.WriteFile(binary, text, 0o755); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, uid, gid)); err != nil {
		t.Fatal(err)
	}
	who := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}

	cmd, stdin, said := parent(t, binary, filepath.Join(home, "data"), who)
	pid, err := strconv.Atoi(strings.TrimPrefix(said, "runs: "))
	if err != nil {
		t.Fatal(said)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	wantGone(t, pid)

	_, _, said = parent(t, binary, filepath.Join(dir, "of-root"), who)
	if !strings.Contains(said, "permission denied") || !strings.Contains(said, "-data") {
		t.Errorf("a folder of another user: %s", said)
	}
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	local(t)
	dir := filepath.Join(folderFor(t), strings.Repeat("long-", 20), "with space and % and ?")
	s := begin(t, Options{Dir: dir})
	if ask[int](t, s, "SELECT 1") != 1 {
		t.Error("no answer")
	}
	socket := s.folder.socket
	if strings.HasPrefix(socket, dir) {
		t.Fatalf("the socket is in %s", socket)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stays behind: %v", socket, err)
	}
	// Somebody else was there first.
	if err := os.WriteFile(socket, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(socket) }()
	_, err := Start(t.Context(), Options{Dir: dir})
	wantError(t, err, socket)
	if err := errors.Join(os.Remove(socket), os.Mkdir(socket, 0o755), os.Chmod(socket, 0o777)); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Options{Dir: dir})
	wantError(t, err, socket, "ours alone")
}

func TestPathsThatMeanSomethingElsewhere(t *testing.T) {
	t.Parallel()
	local(t)
	for _, name := range []string{"one, two", "a+b&c=[d]?%20"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(folderFor(t), name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			from := prepare(t)
			if err := os.Rename(filepath.Join(from, "postgres"), filepath.Join(dir, "postgres")); err != nil {
				t.Fatal(err)
			}
			s := begin(t, Options{Dir: dir})
			if ask[int](t, s, "SELECT 1") != 1 {
				t.Error("no answer")
			}
			s.Kill() // leaves its socket behind, which the next start removes
			if ask[int](t, begin(t, Options{Dir: dir}), "SELECT 1") != 1 {
				t.Error("no answer after a crash")
			}
		})
	}
}

func TestStartIsGivenUp(t *testing.T) {
	t.Parallel()
	local(t)
	dir := folderFor(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Start(ctx, Options{Dir: dir, Log: func(string, ...any) { cancel() }})
	wantError(t, err, "context canceled")
	if left, _ := filepath.Glob(filepath.Join(dir, "postgres*")); len(left) > 0 {
		t.Errorf("half a data folder stays behind: %s", left)
	}
	begin(t, Options{Dir: dir})
}

func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	local(t)
	o := Options{Dir: prepare(t)}
	s := begin(t, o)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.folder.data, "global", "pg_control")); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), o)
	wantError(t, err, o.Dir, "does not start", "could not find the database system")
}

func TestDefaultDir(t *testing.T) {
	dir, err := DefaultDir()
	if err != nil || !filepath.IsAbs(dir) || filepath.Base(dir) != "devops-dashboard" {
		t.Errorf("DefaultDir() = %q, %v", dir, err)
	}
}
