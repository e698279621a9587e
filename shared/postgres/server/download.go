package server

import (
	"context"
	"crypto/sha1" //nolint:gosec // what older archives of the repository have
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// What is downloaded: a version of which the library knows that the repository
// has it for each system.
const (
	downloadVersion = embedded.V16
	downloadMajor   = 16
)

// mostBytes bounds an archive; the real ones have some 30 MB.
const mostBytes = 500 << 20

// downloads are the folders of programs that were downloaded before.
func downloads(cache string) []string {
	dirs, _ := filepath.Glob(filepath.Join(cache, "postgresql", "*", "bin")) // the pattern is good
	return dirs
}

// download brings a server's programs into the cache and returns their folder.
// They appear there whole or not at all.
//
// The library knows what the archives are called and how to unpack them, but
// fetches without a time limit, without a word and, where there is no checksum,
// without one. So it is pointed at a relay in this process that sees to those.
func download(ctx context.Context, o Options, a account, cache string) (dir string, err error) {
	root := filepath.Join(cache, "postgresql")
	if err := a.makeEnterable(root); err != nil {
		return "", err
	}
	unlock, err := lockDownload(ctx, root)
	if err != nil {
		return "", err
	}
	defer unlock()
	target := filepath.Join(root, string(downloadVersion))
	programs := filepath.Join(target, "bin")
	if _, err := os.Stat(programs); err == nil {
		return programs, nil // another run has just brought it
	}
	aside := filepath.Join(root, "incoming")
	if err := os.RemoveAll(aside); err != nil { // of a run that was killed
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }()
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", err
	}
	tree := filepath.Join(aside, "tree")
	if err := fetch(ctx, o, aside, tree); err != nil {
		return "", err
	}
	if err := a.giveTree(tree); err != nil {
		return "", err
	}
	if err := os.Rename(tree, target); err != nil {
		return "", err
	}
	return programs, nil
}

// lockDownload waits for other runs that download to the same place.
func lockDownload(ctx context.Context, root string) (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = lock.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || !wait(ctx, 10*pause) {
			return nil, errors.Join(err, ctx.Err(), lock.Close())
		}
	}
}

// fetch has the library download an archive and unpack it to tree.
func fetch(ctx context.Context, o Options, aside, tree string) error {
	r := &relay{ctx: ctx, options: o, file: filepath.Join(aside, "archive"), quarters: -1}
	address, stop, err := r.serve()
	if err != nil {
		return err
	}
	defer stop()
	// The library offers downloading as the first part of starting a server. A
	// data folder that cannot be emptied ends it right after that part: Go
	// refuses to remove a path that ends in a dot.
	noData := filepath.Join(aside, "none") + "/."
	err = embedded.NewDatabase(embedded.DefaultConfig().
		Version(downloadVersion).
		BinaryRepositoryURL(address).
		CachePath(filepath.Join(aside, "cache")).
		RuntimePath(filepath.Join(aside, "runtime")).
		BinariesPath(tree).
		DataPath(noData).
		Port(0).
		Logger(io.Discard)).Start()
	if failed := r.failure(); failed != nil {
		return failed
	}
	if err == nil || !strings.Contains(err.Error(), noData) {
		return fmt.Errorf("the archive from %s cannot be unpacked: %w", o.BinaryRepositoryURL, err)
	}
	if _, err := os.Stat(filepath.Join(tree, "bin", "postgres")); err != nil {
		return fmt.Errorf("the archive from %s holds no server", o.BinaryRepositoryURL)
	}
	return nil
}

// relay answers the library's two requests, for an archive and its checksum, with
// an archive that has arrived whole and checked.
type relay struct {
	ctx     context.Context // of the start that needs the archive
	options Options
	file    string // where the archive is kept

	mu       sync.Mutex
	checksum string
	err      error
	quarters int64 // of the archive that were told of
}

func (r *relay) serve() (address string, stop func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(r.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}

func (r *relay) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasSuffix(req.URL.Path, ".sha256") {
		_, _ = io.WriteString(w, r.checksum)
		return
	}
	source := strings.TrimSuffix(r.options.BinaryRepositoryURL, "/") + req.URL.Path
	if r.checksum, r.err = r.fetch(source); r.err != nil {
		http.Error(w, "see the relay", http.StatusBadGateway)
		return
	}
	http.ServeFile(w, req, r.file)
}

// fetch brings the archive at source to r.file and returns its checksum.
func (r *relay) fetch(source string) (string, error) {
	// Not each archive of a Maven repository has the stronger one.
	strong, weak := sha256.New(), sha1.New()
	check := strong
	declared, err := r.declared(source + ".sha256")
	if errors.Is(err, errMissing) {
		check = weak
		declared, err = r.declared(source + ".sha1")
	}
	if err != nil {
		return "", err
	}
	file, err := os.Create(r.file)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	if err := r.get(source, io.MultiWriter(file, strong, weak), mostBytes, r.progress); err != nil {
		return "", err
	}
	if got := hex.EncodeToString(check.Sum(nil)); !strings.EqualFold(got, declared) {
		return "", fmt.Errorf("%s arrived with another checksum than the repository states: it was damaged or changed on the way; try again, or from another network", source)
	}
	return hex.EncodeToString(strong.Sum(nil)), file.Close()
}

// declared returns the checksum at source.
func (r *relay) declared(source string) (string, error) {
	var text strings.Builder
	err := r.get(source, &text, 1024, nil)
	sum, _, _ := strings.Cut(strings.TrimSpace(text.String()), " ")
	return sum, err
}

// errMissing is a 404 of the repository.
var errMissing = errors.New("answered 404 Not Found")

// get copies what source answers to w, and gives up when nothing comes for the
// length of options.stall.
func (r *relay) get(source string, w io.Writer, most int64, progress func(got, size int64)) error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	silent := fmt.Errorf("nothing came from %s for %s: check the network and try again", source, r.options.stall)
	watch := time.AfterFunc(r.options.stall, func() { cancel(silent) })
	defer watch.Stop()
	explain := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("%s: %w: check the network and try again", source, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return explain(errors.Unwrap(err)) // without the address a second time
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s %w", source, errMissing)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", source, answer.Status)
	}
	counted := &counter{r: io.LimitReader(answer.Body, most+1), seen: func(got int64) {
		watch.Reset(r.options.stall)
		if progress != nil {
			progress(got, answer.ContentLength)
		}
	}}
	got, err := io.Copy(w, counted)
	switch {
	case err != nil:
		return explain(err)
	case got > most:
		return fmt.Errorf("%s is larger than %d bytes", source, most)
	}
	return nil
}

// progress says how far the download is, at its start and at each quarter.
func (r *relay) progress(got, size int64) {
	quarters := int64(0)
	if size > 0 {
		quarters = 4 * got / size
	}
	if quarters <= r.quarters {
		return
	}
	r.quarters = quarters
	r.options.Log("downloading PostgreSQL %s, once: %d%% of %s", downloadVersion, 25*quarters, megabytes(size))
}

func megabytes(size int64) string {
	if size < 0 {
		return "an unknown size"
	}
	return fmt.Sprintf("%.1f MB", float64(size)/1e6)
}

type counter struct {
	r    io.Reader
	n    int64
	seen func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.seen(c.n)
	return n, err
}
