package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets this binary be the product: what happens to processes can only
// be seen from outside of them.
func TestMain(m *testing.M) {
	if os.Getenv("DEV_TEST_RUN") != "" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdout))
	}
	os.Exit(m.Run())
}

// spawned is the product in a process of its own, on its embedded servers.
type spawned struct {
	started
	cmd  *exec.Cmd
	gone chan struct{} // closed when its output ends, and with it the process
}

func spawn(t *testing.T, program []string, args ...string) *spawned {
	t.Helper()
	program = append(program, os.Args[0], "-addr", "127.0.0.1:0", "-time-zone", "UTC")
	cmd := exec.Command(program[0], append(program[1:], args...)...)
	cmd.Env = append(os.Environ(), "DEV_TEST_RUN=1", "DATABASE_URL=", "REDIS_URL=")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &spawned{started: started{output: &transcript{}}, cmd: cmd, gone: make(chan struct{})}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	serving := make(chan struct{})
	go func() {
		defer close(s.gone)
		s.follow(stdout, serving)
	}()
	select {
	case <-serving:
	case <-s.gone:
		t.Fatalf("ended before it served:\n%s", s.output)
	}
	return s
}

func (s *spawned) follow(stdout io.Reader, serving chan struct{}) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if s.hear(lines.Text()) {
			close(serving)
		}
	}
}

// openDir is a temporary folder that the server's unprivileged user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serversIn lists the processes at work in a folder.
func serversIn(t *testing.T, dir string) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil // only Linux tells here
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd, dir) {
			found = append(found, entry.Name()+" in "+cwd)
		}
	}
	return found
}

func TestEmbeddedServersLiveAndDieWithTheProcess(t *testing.T) {
	data, repo := openDir(t), repository(t)
	first := spawn(t, nil, "-data", data, "-repo", repo)
	if diff := cmp.Diff(first.shop(), first.figures(t)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(data, "keys.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys are not for their owner alone: %v, %v", info, err)
	}
	if runtime.GOOS == "linux" && len(serversIn(t, data)) == 0 {
		t.Error("no server is at work in the data folder")
	}

	// A second run on the same folder must refuse, and leave the first alone.
	other := exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-data", data, "-repo", repo)
	other.Env = append(os.Environ(), "DEV_TEST_RUN=1", "DATABASE_URL=", "REDIS_URL=")
	if said, err := other.CombinedOutput(); err == nil || !strings.Contains(string(said), "-data") {
		t.Errorf("a second run on the folder: %v\n%s", err, said)
	}

	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-first.gone
	if err := first.cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, first.output)
	}
	if left := serversIn(t, data); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	second := spawn(t, nil, "-data", data, "-repo", repo)
	if !strings.Contains(second.output.String(), "nothing new") {
		t.Errorf("the second start imported again:\n%s", second.output)
	}
	// kill -9 leaves no chance to clean up; the next start does it.
	if err := second.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = second.cmd.Wait()
	third := spawn(t, nil, "-data", data, "-repo", repo)
	if diff := cmp.Diff(third.shop(), third.figures(t)); diff != "" {
		t.Error(diff)
	}
	if err := third.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := third.cmd.Wait(); err != nil {
		t.Errorf("SIGINT: %v", err)
	}

	// -reset is the advice for damaged keys, so it must help.
	if err := os.WriteFile(filepath.Join(data, "keys.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	fourth := spawn(t, nil, "-data", data, "-repo", repo, "-reset")
	if !strings.Contains(fourth.output.String(), "3 new commits") {
		t.Errorf("-reset did not begin afresh:\n%s", fourth.output)
	}
	if err := fourth.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := fourth.cmd.Wait(); err != nil {
		t.Errorf("SIGHUP: %v", err)
	}

	// Without its database the product must end rather than answer 503 for ever.
	fifth := spawn(t, nil, "-data", data, "-repo", repo)
	text, err := os.ReadFile(filepath.Join(data, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-fifth.gone
	if err := fifth.cmd.Wait(); err == nil || !strings.Contains(fifth.output.String(), "PostgreSQL ended by itself") {
		t.Errorf("PostgreSQL was killed: %v\n%s", err, fifth.output)
	}
}

func TestEndsWithTheGoRunThatStartedIt(t *testing.T) {
	data := openDir(t)
	// go run waits for its child and passes no signal on; so does this.
	parent := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(parent, []byte("#!/bin/sh\n\"$@\" &\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := spawn(t, []string{parent}, "-data", data, "-repo", repository(t))
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	<-s.gone
	t.Logf("gone %s after its parent", time.Since(killed))
	if left := serversIn(t, data); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_ = s.cmd.Wait()
}
