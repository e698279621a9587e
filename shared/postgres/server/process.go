package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// startTime bounds a start; recovery after a crash may take a while.
const startTime = 2 * time.Minute

// pause is between two looks at something that cannot be waited on.
const pause = 10 * time.Millisecond

// process is a running postmaster.
type process struct {
	pid      int
	log      string
	patience time.Duration
	done     chan struct{} // closed when it has ended
}

// run starts the server on the folder's data and waits until it takes
// connections.
func (f *folder) run(ctx context.Context, b binaries, o Options) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		p, err := f.launch(b, o)
		if err != nil {
			return nil, err
		}
		err = p.ready(ctx, f.url("postgres"))
		if err == nil {
			return p, nil
		}
		_ = p.end(ctx)
		// The children of a killed server take a moment to notice.
		if !strings.Contains(p.said(), "pre-existing shared memory block") || !wait(ctx, 10*pause) {
			return nil, fmt.Errorf("PostgreSQL %s does not start in %s: %w: %s", b.version, f.dir, err, p.said())
		}
	}
}

func (f *folder) launch(b binaries, o Options) (*process, error) {
	log, err := os.OpenFile(f.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, f.unusable(err)
	}
	defer func() { _ = log.Close() }()
	cmd := f.account.as(exec.Command(filepath.Join(b.dir, "postgres"), f.arguments(o)...))
	cmd.Dir = f.data
	cmd.Stdout, cmd.Stderr = log, log // a file and no pipe, which would end with us
	dieWithParent(cmd.SysProcAttr)

	p := &process{log: f.log, patience: f.patience, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The thread must live as long as the server: see dieWithParent.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// mark is how the arguments of a server of this folder begin, by which a later
// start knows it.
func (f *folder) mark() string { return "-D " + f.data + " -k " + f.socket + " " }

func (f *folder) arguments(o Options) []string {
	args := []string{"-D", f.data, "-k", f.socket}
	set := func(name, value string) { args = append(args, "-c", name+"="+value) }
	set("port", strconv.Itoa(port))
	set("listen_addresses", "")
	set("unix_socket_permissions", "0700")
	set("max_connections", strconv.Itoa(o.MaxConnections))
	set("shared_buffers", "64MB")
	set("dynamic_shared_memory_type", "mmap") // a container's /dev/shm is too small
	set("jit", "off")
	set("log_checkpoints", "off")
	if !o.Durable {
		set("fsync", "off")
		set("full_page_writes", "off")
		set("synchronous_commit", "off")
		set("wal_level", "minimal")
		set("max_wal_senders", "0")
	}
	return args
}

// ready waits until the server takes connections.
func (p *process) ready(ctx context.Context, url string) error {
	for {
		conn, err := pgconn.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// end stops the server: fast, then at once, then without asking. Only the last
// is an error. The data survives each.
func (p *process) end(ctx context.Context) error {
	for _, step := range []struct {
		signal syscall.Signal
		ctx    context.Context
	}{
		{syscall.SIGINT, ctx},
		{syscall.SIGQUIT, context.WithoutCancel(ctx)},
	} {
		select {
		case <-p.done:
			return nil
		default: // the pid is ours until done
			_ = syscall.Kill(p.pid, step.signal)
		}
		bounded, cancel := context.WithTimeout(step.ctx, p.patience)
		select {
		case <-p.done:
		case <-bounded.Done():
		}
		cancel()
	}
	select {
	case <-p.done:
		return nil
	default:
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		<-p.done
		return errors.New("PostgreSQL did not stop and was killed; the next start recovers the data")
	}
}

// said is the end of what the server logged.
func (p *process) said() string {
	text, _ := os.ReadFile(p.log)
	return tail(string(text))
}

// endLeftover ends a server of this folder whose owner was killed, and sees to
// it that its pid, which may be another program's by now, stops no start.
func (f *folder) endLeftover(ctx context.Context) error {
	path := filepath.Join(f.data, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return f.unusable(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return os.Remove(path) // written halfway
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if !strings.Contains(commandLine(pid), f.mark()) {
			break
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("PostgreSQL (process %d) of an earlier run still uses %s and could not be ended: %w", pid, f.dir, err)
		}
		f.waitGone(ctx, pid)
	}
	if strings.Contains(commandLine(pid), "-D "+f.data) {
		return fmt.Errorf("%s is in use by a PostgreSQL server (process %d) that another program started: stop it, or choose another folder with %s", f.data, pid, f.name)
	}
	// PostgreSQL takes its parent's pid for a stale one, and still checks the
	// rest of the file for processes that use the data; deleting it would not.
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it ended well
	}
	if err != nil {
		return f.unusable(err)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), info.Mode()); err != nil {
		return f.unusable(err)
	}
	return f.removeSockets()
}

// removeSockets deletes what a killed server left, lest its pid be taken for a
// running server's.
func (f *folder) removeSockets() error {
	left, _ := fs.Glob(os.DirFS(f.socket), ".s.PGSQL.*") // the pattern is good
	for _, name := range left {
		if err := os.Remove(filepath.Join(f.socket, name)); err != nil {
			return f.unusable(err)
		}
	}
	return nil
}

// waitGone waits for the end of a process that is not our child.
func (f *folder) waitGone(ctx context.Context, pid int) {
	ctx, cancel := context.WithTimeout(ctx, f.patience)
	defer cancel()
	for strings.Contains(commandLine(pid), f.mark()) && wait(ctx, pause) {
	}
}

// wait waits, and tells whether ctx still goes on.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
