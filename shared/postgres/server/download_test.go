package server

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// archive packs files as the repository's archives are packed.
func archive(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	return jar(t, "postgres-linux.txz", packed(t, files))
}

func packed(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var tree bytes.Buffer
	w := tar.NewWriter(&tree)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return xz(tree.Bytes())
}

func jar(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	file, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// script stands in for the programs where it matters only that they arrive.
var script = map[string][]byte{
	"bin/postgres": []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 16.9'\n"),
	"bin/initdb":   []byte("#!/bin/sh\nexit 3\n"),
	"bin/pg_ctl":   []byte("#!/bin/sh\nexit 3\n"),
}

// repository serves an archive, and breaks as it is told.
type repository struct {
	*httptest.Server
	jar      []byte
	fetched  atomic.Int32
	mu       sync.Mutex
	respond  func(w http.ResponseWriter, r *http.Request) // for the archive; nil serves it well
	checksum func(w http.ResponseWriter)                  // likewise
	sha1     string                                       // the older checksum, if there is one
}

func newRepository(t *testing.T, jar []byte) *repository {
	t.Helper()
	r := &repository{jar: jar}
	sum := sha256.Sum256(jar)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		respond, checksum, sha1sum := r.respond, r.checksum, r.sha1
		r.mu.Unlock()
		if !strings.HasPrefix(req.URL.Path, "/maven/io/zonky/test/postgres/embedded-postgres-binaries-") {
			http.NotFound(w, req)
			return
		}
		switch summed := strings.HasSuffix(req.URL.Path, ".jar.sha256"); {
		case strings.HasSuffix(req.URL.Path, ".jar.sha1") && sha1sum != "":
			_, _ = fmt.Fprint(w, sha1sum)
		case strings.HasSuffix(req.URL.Path, ".jar.sha1"):
			http.NotFound(w, req)
		case summed && checksum != nil:
			checksum(w)
		case summed:
			_, _ = fmt.Fprintln(w, hex.EncodeToString(sum[:]))
		case respond != nil:
			respond(w, req)
		default:
			r.fetched.Add(1)
			http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(jar))
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *repository) serve(respond func(http.ResponseWriter, *http.Request), checksum func(http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond, r.checksum = respond, checksum
}

func (r *repository) options(t *testing.T) Options {
	t.Helper()
	dir := folderFor(t)
	return Options{
		Dir: filepath.Join(dir, "data"), CacheDir: filepath.Join(dir, "cache"), BinDirs: []string{},
		BinaryRepositoryURL: r.URL + "/maven/", stall: 5 * time.Second,
	}
}

func TestDownloadOnce(t *testing.T) {
	t.Parallel()
	local(t)
	files := map[string][]byte{}
	here := find(t.Context(), account{}, localDirs(t.Context()))[0].dir
	for _, name := range []string{"postgres", "initdb", "pg_ctl"} {
		content, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		files["bin/"+name] = content
	}
	// What initdb loads; the rest is found where the package put it.
	for _, name := range []string{"dict_snowball.so", "plpgsql.so"} {
		if content, err := os.ReadFile(filepath.Join(here, "..", "lib", name)); err == nil {
			files["lib/"+name] = content
		}
	}
	r := newRepository(t, archive(t, files))
	o := r.options(t)
	var told []string
	o.Log = func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
	for range 2 {
		s := begin(t, o)
		if got := ask[int](t, s, "SELECT 1"); got != 1 {
			t.Errorf("answered %d", got)
		}
		if !strings.HasPrefix(commandLine(s.process.pid), o.CacheDir) {
			t.Errorf("not the downloaded server runs: %s", commandLine(s.process.pid))
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if len(told) != 6 || !strings.Contains(told[0], "downloading PostgreSQL 16") || !strings.Contains(told[0], "0% of ") || !strings.Contains(told[4], "100% of") {
		t.Errorf("told %q", told)
	}
}

func TestDownloadThatFails(t *testing.T) {
	t.Parallel()
	good := archive(t, script)
	garbage := []byte("not what was asked for")
	serve := func(content []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
	}
	sumOf := func(content []byte) func(http.ResponseWriter) {
		sum := sha256.Sum256(content)
		return func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, hex.EncodeToString(sum[:])) }
	}
	cut := packed(t, script)
	broken := jar(t, "postgres.txz", cut[:len(cut)/2])
	empty := archive(t, map[string][]byte{"README": []byte("nothing here")})
	none := jar(t, "README", nil)
	for name, c := range map[string]struct {
		respond  func(http.ResponseWriter, *http.Request)
		checksum func(http.ResponseWriter)
		want     []string
	}{
		"truncated": {respond: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
		}, want: []string{"unexpected EOF", "check the network and try again"}},
		"truncated, of unknown size": {respond: func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(good[:len(good)/2])
		}, want: []string{"another checksum", "try again"}},
		"stalled": {respond: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, want: []string{"nothing came from", "for 300ms", "try again"}},
		"silent": {respond: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			want: []string{"nothing came from", "for 300ms"}},
		"wrong checksum":        {respond: serve(garbage), want: []string{"another checksum", "damaged or changed on the way"}},
		"no checksum":           {checksum: func(w http.ResponseWriter) { w.WriteHeader(404) }, want: []string{".sha1 answered 404"}},
		"endless checksum":      {checksum: func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 4096)) }, want: []string{"larger than 1024 bytes"}},
		"missing":               {respond: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, want: []string{"answered 410 Gone"}},
		"no archive":            {respond: serve(garbage), checksum: sumOf(garbage), want: []string{"cannot be unpacked"}},
		"nothing in it":         {respond: serve(none), checksum: sumOf(none), want: []string{"cannot be unpacked"}},
		"broken inside":         {respond: serve(broken), checksum: sumOf(broken), want: []string{"cannot be unpacked"}},
		"something else inside": {respond: serve(empty), checksum: sumOf(empty), want: []string{"holds no server"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t, good)
			o := r.options(t)
			o.stall = 300 * time.Millisecond
			r.serve(c.respond, c.checksum)
			_, err := Start(t.Context(), o)
			wantError(t, err, append(c.want, "no PostgreSQL server", "Install one", "DATABASE_URL")...)
			root := filepath.Join(o.CacheDir, "postgresql")
			if left, _ := filepath.Glob(filepath.Join(root, "*")); len(left) != 1 || filepath.Base(left[0]) != "lock" {
				t.Errorf("left behind: %s", left)
			}
			r.serve(nil, nil)
			o.stall = 10 * time.Second
			// The script is no server, but it is run: the download has succeeded.
			_, err = Start(t.Context(), o)
			wantError(t, err, "initdb of PostgreSQL 16.9 failed")
		})
	}
}

func TestDownloadWithTheOlderChecksum(t *testing.T) {
	t.Parallel()
	r := newRepository(t, archive(t, script))
	r.serve(nil, func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) })
	o, err := r.options(t).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	r.sha1 = strings.Repeat("0", 40)
	_, err = obtain(t.Context(), o, account{}, 0)
	wantError(t, err, "another checksum")
	sum := sha1.Sum(r.jar)
	r.mu.Lock()
	r.sha1 = hex.EncodeToString(sum[:])
	r.mu.Unlock()
	if _, err := obtain(t.Context(), o, account{}, 0); err != nil {
		t.Error(err)
	}
}

func TestDownloadWithoutANetwork(t *testing.T) {
	t.Parallel()
	r := newRepository(t, nil)
	o := r.options(t)
	r.Close()
	_, err := Start(t.Context(), o)
	wantError(t, err, "no PostgreSQL server", "connection refused", "apt install postgresql", "DATABASE_URL")
	if strings.Count(err.Error(), r.URL) != 1 {
		t.Errorf("the address is repeated: %v", err)
	}
}

func TestDataOfTheDownloadedVersionWithoutIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string][]byte // of the archive; nil is no network
		want  string
	}{
		"no network": {want: "connection refused"},
		"of another system": {
			files: map[string][]byte{"bin/postgres": []byte("#!/bin/sh\nexit 1\n"), "bin/initdb": nil, "bin/pg_ctl": nil},
			want:  "does not run on this machine",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t, archive(t, c.files))
			if c.files == nil {
				r.Close()
			}
			o := r.options(t)
			data, bin := filepath.Join(o.Dir, "postgres"), filepath.Join(o.CacheDir, "bin")
			if err := errors.Join(MakeDir(data), MakeDir(bin), os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("16\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
			for program, text := range map[string]string{"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 15.18'\n", "initdb": ""} {
				if err := os.WriteFile(filepath.Join(bin, program), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			o.BinDirs = []string{bin}
			_, err := Start(t.Context(), o)
			wantError(t, err, o.Dir+" is of PostgreSQL 16", "not installed", "this machine has 15.18", c.want, "postgresql", "-reset", "another folder with -data")
			if strings.Contains(err.Error(), "no PostgreSQL server") {
				t.Errorf("denies the server that there is: %v", err)
			}
		})
	}
}

func TestDownloadIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRepository(t, archive(t, script))
	o := r.options(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.serve(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }, nil)
	_, err := Start(ctx, o)
	wantError(t, err, "context canceled")
	if left, _ := filepath.Glob(filepath.Join(o.CacheDir, "postgresql", "in*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

func TestTwoDownloadsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRepository(t, archive(t, script))
	o, err := r.options(t).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			found, err := obtain(t.Context(), o, account{}, 0)
			if err != nil || found.version != "16.9" {
				t.Errorf("got %v, %v", found, err)
			}
		})
	}
	all.Wait()
	if n := r.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestDownloadWaitsNoLongerThanAsked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	unlock, err := lockDownload(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 3*pause)
	defer cancel()
	_, err = lockDownload(ctx, root)
	wantError(t, err, "deadline exceeded")
}

func TestDownloadedProgramsThatDoNotRun(t *testing.T) {
	t.Parallel()
	r := newRepository(t, archive(t, map[string][]byte{"bin/postgres": []byte("#!/bin/sh\nexit 1\n"), "bin/initdb": nil, "bin/pg_ctl": nil}))
	_, err := Start(t.Context(), r.options(t))
	wantError(t, err, "does not run on this machine", "Install one")
}

func TestDataOfTheDownloadedVersionHasItDownloaded(t *testing.T) {
	t.Parallel()
	r := newRepository(t, archive(t, script))
	o, err := r.options(t).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	found, err := obtain(t.Context(), o, account{}, downloadMajor)
	if err != nil || found.major != downloadMajor {
		t.Errorf("got %v, %v", found, err)
	}
	_, err = obtain(t.Context(), o, account{}, downloadMajor+1)
	wantError(t, err, "this machine has 16.9", fmt.Sprintf("install PostgreSQL %d", downloadMajor+1))
}
