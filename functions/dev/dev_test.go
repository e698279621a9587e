package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// repository makes a git repository with two releases: v1.0.0 of one commit, and
// v1.1.0 of two more, made 1 and 3 hours before it.
func repository(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	git(t, "", "init", "-q", "-b", "main", dir)
	at := func(when string, args ...string) {
		t.Helper()
		t.Setenv("GIT_AUTHOR_DATE", when)
		t.Setenv("GIT_COMMITTER_DATE", when)
		git(t, dir, args...)
	}
	at("2026-03-02T09:00:00Z", "commit", "-q", "--allow-empty", "-m", "Open the shop")
	at("2026-03-02T09:00:00Z", "tag", "v1.0.0")
	at("2026-03-09T09:00:00Z", "commit", "-q", "--allow-empty", "-m", "Sell bread")
	at("2026-03-09T11:00:00Z", "commit", "-q", "--allow-empty", "-m", "Sell butter")
	at("2026-03-09T12:00:00Z", "tag", "-m", "second", "v1.1.0")
	return dir
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ada Example", "-c", "user.email=ada@example.com"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

// started is a product that is running.
type started struct {
	url, service, password string
	output                 *transcript
	end                    func() int
}

// transcript is what the product has said so far.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.WriteString(line + "\n")
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

var (
	openLine   = regexp.MustCompile(`Open     (\S+)/\?service=(\S+)`)
	signInLine = regexp.MustCompile(`Sign in  owner@example\.com  (\S+)`)
)

// hear takes in a line of what the product says, and tells whether it serves now.
func (s *started) hear(line string) bool {
	s.output.add(line)
	if m := openLine.FindStringSubmatch(line); m != nil {
		s.url, s.service = m[1], m[2]
	}
	if m := signInLine.FindStringSubmatch(line); m != nil {
		s.password = m[1]
		return true
	}
	return false
}

// start runs the product until it serves.
func start(t *testing.T, args ...string) started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, append([]string{"-addr", "127.0.0.1:0", "-time-zone", "UTC"}, args...), writer)
		_ = writer.Close()
	}()
	s := started{output: &transcript{}}
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if s.hear(lines.Text()) {
			break
		}
	}
	if s.password == "" {
		t.Fatalf("ended with %d before it served:\n%s", <-code, s.output)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
			s.output.add(lines.Text())
		}
	}()
	ended := false
	s.end = func() int {
		ended = true
		cancel()
		result := <-code
		<-drained
		return result
	}
	t.Cleanup(func() {
		if !ended {
			s.end()
		}
	})
	return s
}

// browser keeps cookies and trusts the certificate made on the spot.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// ask sends a request and decodes the JSON answer, whose status must be status.
func (s started) ask(t *testing.T, status int, method, path, token string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := browser(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != status {
		t.Fatalf("%s %s: want %d, got %d: %s", method, path, status, answer.StatusCode, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
}

// figures are what metrics says of the one service.
func (s started) figures(t *testing.T) string {
	t.Helper()
	var in struct {
		AccessToken string `json:"access_token"`
	}
	s.ask(t, 200, "POST", "/api/auth/login", "", map[string]string{"email": "owner@example.com", "password": s.password}, &in)
	var services struct {
		Services []struct {
			ID         string
			Name       string
			DeployedBy string `json:"deployed_by"`
			DirtyDays  int    `json:"dirty_days"`
		}
	}
	s.ask(t, 200, "GET", "/api/metrics/services", in.AccessToken, nil, &services)
	var said strings.Builder
	for _, service := range services.Services {
		query := "?service=" + service.ID + "&from=2026-03-01&to=2026-03-31"
		var frequency struct{ Total struct{ Deployments int } }
		s.ask(t, 200, "GET", "/api/metrics/deployment-frequency"+query, in.AccessToken, nil, &frequency)
		var lead struct {
			Total struct {
				N     int
				Exact bool
				P50   float64
			}
		}
		s.ask(t, 200, "GET", "/api/metrics/change-lead-time"+query, in.AccessToken, nil, &lead)
		var commits struct {
			Days []struct {
				Day     string
				Commits int
			}
		}
		s.ask(t, 200, "GET", "/api/metrics/commits"+query, in.AccessToken, nil, &commits)
		fmt.Fprintf(&said, "%s (%s) by %s, %d dirty: %d deployments, lead n=%d exact=%v p50=%v, commits %v\n", service.Name, service.ID, service.DeployedBy,
			service.DirtyDays, frequency.Total.Deployments, lead.Total.N, lead.Total.Exact, lead.Total.P50, commits.Days)
	}
	return said.String()
}

// shop are the figures of the repository, which is the first to be opened.
func (s started) shop() string { return fmt.Sprintf(shopFigures, s.service) }

const shopFigures = "shop (%s) by tag, 0 dirty: 2 deployments, lead n=2 exact=true p50=7200, commits [{2026-03-02 1} {2026-03-09 2}]\n"

func TestShowsARepositoryOnServersOfOthers(t *testing.T) {
	t.Setenv("DATABASE_URL", pgtest.URL(t))
	repo, data := repository(t), t.TempDir()
	first := start(t, "-data", data, "-repo", repo)
	if diff := cmp.Diff(first.shop(), first.figures(t)); diff != "" {
		t.Error(diff)
	}
	first.ask(t, 200, "GET", "/api/health", "", nil, nil)
	var hidden struct {
		RequestID string `json:"request_id"`
	}
	first.ask(t, 404, "POST", "/api/rollup/condense", "", nil, &hidden)
	if hidden.RequestID == "" {
		t.Error("a hidden route answers without a request id")
	}
	first.ask(t, 404, "GET", "/nowhere", "", nil, nil)
	if code := first.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	// One line for each request, be it the door's or that of the function behind it.
	for _, request := range []string{"GET /api/health 200", "POST /api/rollup/condense 404", "POST /api/auth/login 200", "GET /nowhere 404"} {
		if n := strings.Count(first.output.String(), request); n != 1 {
			t.Errorf("%d lines say %s:\n%s", n, request, first.output)
		}
	}
	if !strings.HasSuffix(first.output.String(), "Stopped.\n") {
		t.Errorf("the last line is not a goodbye:\n%s", first.output)
	}

	git(t, repo, "commit", "-q", "--allow-empty", "-m", "Sell milk")
	second := start(t, "-data", data, "-repo", repo, "-demo", "-time-zone", "Asia/Tokyo")
	if got := second.figures(t); first.service != second.service || !strings.Contains(got, "shop ("+second.service+")") {
		t.Errorf("opens service %s, then %s of\n%s", first.service, second.service, got)
	}
	if !strings.Contains(second.output.String(), "UTC, as it was when the team was made") || strings.Contains(first.output.String(), "as it was") {
		t.Errorf("the second start does not say that the team's time zone is another:\n%s", second.output)
	}
	if first.password != second.password {
		t.Error("the second start has another password")
	}
	if !strings.Contains(second.output.String(), "1 new commit") {
		t.Errorf("the second start does not say that it imported one commit:\n%s", second.output)
	}
	want := strings.Replace(second.shop(), "{2026-03-09 2}", "{2026-03-09 3}", 1)
	if got := second.figures(t); !strings.Contains(got, want) || strings.Count(got, "\n") != 2 {
		t.Errorf("want the shop and the demo, got:\n%s", got)
	}
}

func TestServesTLS(t *testing.T) {
	t.Setenv("DATABASE_URL", pgtest.URL(t))
	s := start(t, "-data", t.TempDir(), "-repo", repository(t), "-tls")
	if !strings.HasPrefix(s.url, "https://") {
		t.Fatalf("serves %s", s.url)
	}
	s.ask(t, 200, "GET", "/api/health/live", "", nil, nil)
}

func TestSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "keys.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "keys.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	repo := repository(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	git(t, "", "clone", "-q", "--depth", "1", "file://"+repo, shallow)
	t.Setenv("DATABASE_URL", pgtest.URL(t))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"port taken":         {[]string{"-addr", taken.Addr().String()}, 1, "is taken by another program"},
		"no such address":    {[]string{"-addr", "127.0.0.1:99999"}, 1, "cannot serve on"},
		"address without :":  {[]string{"-addr", "8080"}, 2, "must be HOST:PORT"},
		"off loopback":       {[]string{"-addr", "0.0.0.0:8080"}, 2, "Add -tls"},
		"unknown flag":       {[]string{"-colour"}, 2, "-repo"},
		"argument":           {[]string{"somewhere"}, 2, "unknown argument"},
		"help":               {[]string{"-h"}, 0, "-time-zone"},
		"pattern":            {[]string{"-tags", "("}, 2, "not a regular expression"},
		"zone":               {[]string{"-time-zone", "Mars/Olympus"}, 2, "not an IANA time zone"},
		"no zone elsewhere":  {[]string{"-time-zone", "Factory"}, 2, "not an IANA time zone"},
		"reset of others":    {[]string{"-reset"}, 2, "unset one of them"},
		"not a repository":   {[]string{"-repo", t.TempDir()}, 1, "-demo"},
		"shallow clone":      {[]string{"-repo", shallow}, 1, "--unshallow"},
		"damaged keys":       {[]string{"-data", damaged}, 1, "begin afresh with -reset"},
		"keys missing":       {[]string{"-data", empty}, 1, "begin afresh with -reset"},
		"data folder a file": {[]string{"-data", filepath.Join(damaged, "keys.json")}, 1, "keys.json"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-repo", repo}, c.args...)
			if code := Run(t.Context(), args, &out); code != c.code {
				t.Errorf("want exit code %d, got %d", c.code, code)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("does not say %q:\n%s", c.want, &out)
			}
		})
	}
}

func TestAnotherDataFolderOnTheSameDatabase(t *testing.T) {
	t.Setenv("DATABASE_URL", pgtest.URL(t))
	repo := repository(t)
	start(t, "-data", t.TempDir(), "-repo", repo).end()
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-repo", repo}, &out); code != 1 || !strings.Contains(out.String(), "another data folder") {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
}

func TestDatabaseAway(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://nobody:secret@127.0.0.1:1/none?connect_timeout=1")
	var out bytes.Buffer
	code := Run(t.Context(), []string{"-addr", "127.0.0.1:0", "-data", t.TempDir(), "-repo", repository(t)}, &out)
	if code != 1 || !strings.Contains(out.String(), "unset it to use an embedded database") || strings.Contains(out.String(), "secret") {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
}

func TestRedisOfOthers(t *testing.T) {
	t.Setenv("DATABASE_URL", pgtest.URL(t))
	repo := repository(t)
	for url, c := range map[string]struct {
		says   string
		health int
	}{
		redistest.URL(t):      {"as REDIS_URL says\n", 200},
		"redis://127.0.0.1:1": {"does not answer", 503},
		"no address":          {"does not answer", 503},
	} {
		t.Setenv("REDIS_URL", url)
		s := start(t, "-data", t.TempDir(), "-repo", repo)
		if !strings.Contains(s.output.String(), c.says) {
			t.Errorf("%s: does not say %q:\n%s", url, c.says, s.output)
		}
		s.ask(t, c.health, "GET", "/api/health", "", nil, nil)
		s.end()
		t.Setenv("DATABASE_URL", pgtest.URL(t)) // the next has another data folder
	}
}
