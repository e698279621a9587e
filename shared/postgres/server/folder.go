package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// port numbers the socket; no network port is opened.
const port = 5432

// folder is where a server lives:
//
//	postgres/        its data
//	postgres.new.*/  data that is being made, one for each attempt
//	socket/          its socket, unless that path will not do
//	postgres.log     what it has said since its start
//	server.lock      held by the process that runs it
type folder struct {
	dir, name         string // name is how the user names another
	data, socket, log string
	account           account
	patience          time.Duration
}

// openFolder makes what is missing of the folder and locks it for this process.
// A lock ends with its process, so there is none to clean up.
func openFolder(o Options, a account) (folder, func(), error) {
	f := folder{
		dir: o.Dir, name: o.Name, account: a, patience: o.patience,
		data:   filepath.Join(o.Dir, "postgres"),
		socket: filepath.Join(o.Dir, "socket"),
		log:    filepath.Join(o.Dir, "postgres.log"),
	}
	unlock, err := f.open()
	if err != nil {
		return folder{}, nil, err
	}
	return f, unlock, nil
}

func (f *folder) open() (unlock func(), err error) {
	// Asked first, so that a refusal leaves no folder behind.
	if closed := f.account.closedTo(f.dir); closed != "" {
		return nil, fmt.Errorf("PostgreSQL runs as %s here, who may not enter %s: choose a folder outside it with %s", f.account.name, closed, f.name)
	}
	if err := f.account.makeEnterable(f.dir); err != nil {
		return nil, f.unusable(err)
	}
	lock, err := os.OpenFile(filepath.Join(f.dir, "server.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, f.unusable(err)
	}
	release := func() {
		// Closing does not do: a process that is being started at this moment
		// holds the file, and so the lock, until its program runs.
		_ = syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)
		_ = lock.Close()
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(lock)
		release()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, f.unusable(err)
		}
		return nil, fmt.Errorf("%s is in use by another run (process %s): end that run, or choose another folder with %s", f.dir, strings.TrimSpace(string(holder)), f.name)
	}
	_, err = lock.WriteAt([]byte(fmt.Sprintf("%-10d", os.Getpid())), 0)
	if err := errors.Join(err, f.makeSocketFolder()); err != nil {
		release()
		return nil, f.unusable(err)
	}
	return func() {
		if filepath.Dir(f.socket) != f.dir {
			_ = os.Remove(f.socket)
		}
		release()
	}, nil
}

func (f *folder) unusable(err error) error {
	return fmt.Errorf("the data folder %s cannot be used: %w; choose another with %s", f.dir, err, f.name)
}

// longestSocket is how long a socket's path may be on the strictest system.
const longestSocket = 103

// makeSocketFolder makes the folder of the socket, which nobody else may enter:
// that is what guards the server.
func (f *folder) makeSocketFolder() error {
	long := len(filepath.Join(f.socket, fmt.Sprintf(".s.PGSQL.%d", port))) > longestSocket
	// To the server and to its clients, a comma is between two sockets' paths.
	if long || strings.Contains(f.socket, ",") {
		// The same folder each time, so that none is left behind.
		sum := sha256.Sum256([]byte(f.dir))
		f.socket = filepath.Join("/tmp", "devops-dashboard-"+hex.EncodeToString(sum[:8]))
	}
	if err := f.account.makeFolder(f.socket); err != nil {
		return err
	}
	info, err := os.Lstat(f.socket)
	if err != nil {
		return err
	}
	owner, _ := info.Sys().(*syscall.Stat_t)
	mine := uint32(os.Geteuid())
	if !f.account.ours() {
		mine = f.account.uid
	}
	if !info.IsDir() || owner.Uid != mine || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s is not a folder that is ours alone: delete it", f.socket)
	}
	return nil
}

// major is the version of the data, 0 when there is none yet.
func (f *folder) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(f.data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, f.unusable(err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s holds no PostgreSQL data that could be read: begin afresh with -reset, or choose another folder with %s", f.data, f.name)
	}
	return major, nil
}

// initialise makes the data folder. It is made aside and moved into place, so
// that it is whole or absent.
func (f *folder) initialise(ctx context.Context, b binaries, o Options) error {
	if err := f.clear(); err != nil {
		return err
	}
	// A folder of this attempt alone: the initdb of a run that was killed takes a
	// moment to end, and deletes what it finds in its own.
	aside, err := os.MkdirTemp(f.dir, f.aside()+"*")
	if err != nil {
		return f.unusable(err)
	}
	if err := f.account.give(aside); err != nil {
		return f.unusable(err)
	}
	o.Log("preparing PostgreSQL %s in %s", b.version, f.dir)
	args := []string{
		"-D", aside, "-U", "postgres", "--auth-local=trust", "--auth-host=reject",
		"--encoding=UTF8", "--no-locale", "--no-instructions",
	}
	if !o.Durable {
		args = append(args, "--no-sync")
	}
	cmd := f.account.as(exec.CommandContext(ctx, filepath.Join(b.dir, "initdb"), args...))
	cmd.Dir = aside
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	dieWithParent(cmd.SysProcAttr)
	runtime.LockOSThread() // see dieWithParent
	defer runtime.UnlockOSThread()
	if output, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return errors.Join(fmt.Errorf("initdb of PostgreSQL %s failed in %s: %w: %s", b.version, f.dir, err, tail(string(output))), os.RemoveAll(aside))
	}
	if err := os.Rename(aside, f.data); err != nil {
		return f.unusable(err)
	}
	return nil
}

// clear deletes the data.
func (f *folder) clear() error {
	// The version goes first: without it, what a kill leaves is no data.
	if err := os.Remove(filepath.Join(f.data, "PG_VERSION")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return f.unusable(err)
	}
	for _, path := range []string{f.data, f.log} {
		if err := os.RemoveAll(path); err != nil {
			return f.unusable(err)
		}
	}
	return nil
}

// aside is how the names of the folders begin in which data is made.
func (f *folder) aside() string { return filepath.Base(f.data) + ".new." }

// sweep deletes the half made data of runs that were killed. What an initdb still
// writes to may resist, and stays for the next start: it is in nobody's way.
func (f *folder) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return f.unusable(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), f.aside()) {
			continue
		}
		for range 5 {
			if os.RemoveAll(filepath.Join(f.dir, entry.Name())) == nil || !wait(ctx, 10*pause) {
				break
			}
		}
	}
	return nil
}

// tail is the last lines of what a program said.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
