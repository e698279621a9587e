// Package server starts and stops a PostgreSQL server of our own, for the local
// product and for tests: with the binaries that the machine has, or with ones
// that it downloads once. What is in the databases is left to others.
//
// It runs on Unix systems. No process and no lock outlives the process that
// started it; what a kill -9 leaves behind, the next start cleans up.
package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say where a server lives and how it runs.
type Options struct {
	Dir  string                           // the server's folder, made if missing; others may keep files in it
	Log  func(format string, args ...any) // told what takes long; nil is silence
	Name string                           // how the user names another Dir, for errors; "-data" by default

	Durable        bool // survives a power cut; tests do without
	MaxConnections int  // 100 by default

	// BinDirs are the folders to look for server binaries in, rather than
	// the usual places of this system.
	BinDirs []string
	// CacheDir is where downloaded binaries are kept; DefaultDir by default.
	CacheDir string
	// BinaryRepositoryURL is the Maven repository to download from; Maven
	// Central by default.
	BinaryRepositoryURL string

	stall    time.Duration // the longest silence of a download; half a minute by default
	patience time.Duration // with a server that is to stop; ten seconds by default
	accounts []string      // who may run the server for root
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("the server needs a folder")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, err
	}
	o.Dir = dir
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Name == "" {
		o.Name = "-data"
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 100
	}
	if o.BinaryRepositoryURL == "" {
		o.BinaryRepositoryURL = "https://repo1.maven.org/maven2"
	}
	if o.accounts == nil {
		o.accounts = []string{"postgres", "nobody"}
	}
	if o.patience == 0 {
		o.patience = 10 * time.Second
	}
	if o.stall == 0 {
		o.stall = 30 * time.Second
	}
	return o, nil
}

// Server is a running PostgreSQL server.
type Server struct {
	Version string // "16.9"

	folder  folder
	process *process
	unlock  func()

	stop    sync.Once
	stopErr error
}

// Start starts a server on the data in options.Dir, made at the first start. It
// returns when the server takes connections; ending ctx before that gives up,
// ending it later does nothing.
func Start(ctx context.Context, options Options) (*Server, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	account, err := unprivileged(o.accounts)
	if err != nil {
		return nil, err
	}
	f, unlock, err := openFolder(o, account)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, o, f)
	if err != nil {
		unlock()
		return nil, err
	}
	s.unlock = unlock
	return s, nil
}

func start(ctx context.Context, o Options, f folder) (*Server, error) {
	if err := f.endLeftover(ctx); err != nil {
		return nil, err
	}
	if err := f.sweep(ctx); err != nil {
		return nil, err
	}
	major, err := f.major()
	if err != nil {
		return nil, err
	}
	binaries, err := obtain(ctx, o, f.account, major)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		if err := f.initialise(ctx, binaries, o); err != nil {
			return nil, err
		}
	}
	running, err := f.run(ctx, binaries, o)
	if err != nil {
		return nil, err
	}
	return &Server{Version: binaries.version, folder: f, process: running}, nil
}

// URL returns the address of a database of this server. Only this user of the
// machine, and root, can reach it.
func (s *Server) URL(database string) string { return s.folder.url(database) }

func (f folder) url(database string) string {
	address := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database}
	// Spaces as %20, which every reader of such addresses knows.
	address.RawQuery = "host=" + strings.ReplaceAll(url.QueryEscape(f.socket), "+", "%20") + "&port=" + strconv.Itoa(port)
	return address.String()
}

// Done is closed when the server has ended, asked or not.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Stop ends the server: at once for clients, after a checkpoint for the data. A
// ctx that ends before makes it skip the checkpoint, which the next start makes
// up for. Further calls wait for the first and return what it did.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.stopErr = s.process.end(ctx)
		s.unlock()
	})
	return s.stopErr
}

// Kill ends the server the way a crash does: nothing is written, nobody is told.
func (s *Server) Kill() {
	s.stop.Do(func() {
		_ = syscall.Kill(s.process.pid, syscall.SIGKILL)
		<-s.process.done
		s.unlock()
	})
}

// DefaultDir is the folder for local data of this user: in the user's cache
// folder, or for root in /var/lib, since the account that PostgreSQL runs as may
// not enter root's home.
func DefaultDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/devops-dashboard", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for local data is known (%w): name one with -data", err)
	}
	return filepath.Join(cache, "devops-dashboard"), nil
}

// MakeDir makes a folder that a server may live in, below others that its account
// may enter.
func MakeDir(dir string) error {
	o, err := Options{Dir: dir}.withDefaults()
	if err != nil {
		return err
	}
	account, err := unprivileged(o.accounts)
	if err != nil {
		return err
	}
	return account.makeEnterable(o.Dir)
}

// Reset deletes the server's data in dir, and nothing else there. It fails when
// the data is in use.
func Reset(dir string) error {
	o, err := Options{Dir: dir}.withDefaults()
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	account, err := unprivileged(o.accounts)
	if err != nil {
		return err
	}
	f, unlock, err := openFolder(o, account)
	if err != nil {
		return err
	}
	defer unlock()
	ctx := context.Background()
	if err := f.endLeftover(ctx); err != nil {
		return err
	}
	return errors.Join(f.sweep(ctx), f.clear())
}
