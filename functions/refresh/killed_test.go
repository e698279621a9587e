package refresh_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// beRefresh is set for a process that is to be the function.
const beRefresh = "REFRESH_TEST_SERVE"

// TestMain lets this binary be the function: only a process can be killed.
func TestMain(m *testing.M) {
	if os.Getenv(beRefresh) != "" {
		os.Exit(function.Main(refresh.Function))
	}
	os.Exit(m.Run())
}

// instance is the function in a process of its own.
type instance struct {
	url     string
	command *exec.Cmd
	says    string // the file that takes its log: nobody has to read it meanwhile
	ended   chan struct{}
	next    chan struct{} // closed when another has taken its place
}

// launch starts this binary as the function and returns once it serves.
func launch(t testing.TB, settings map[string]string) *instance {
	t.Helper()
	return launchProgram(t, os.Args[0], settings)
}

// launchProgram is launch of another binary.
func launchProgram(t testing.TB, program string, settings map[string]string) *instance {
	t.Helper()
	i := &instance{url: "http://127.0.0.1:" + freePort(t), command: exec.Command(program), says: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{}), next: make(chan struct{})}
	i.command.Env = append(os.Environ(), beRefresh+"=1", "HOST=127.0.0.1", "PORT="+i.url[len("http://127.0.0.1:"):])
	for name, value := range settings {
		i.command.Env = append(i.command.Env, name+"="+value)
	}
	log, err := os.Create(i.says)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	i.command.Stderr = log
	if err := i.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = i.command.Wait(); close(i.ended) }()
	t.Cleanup(i.kill)
	for {
		select {
		case <-i.ended:
			said, _ := os.ReadFile(i.says)
			t.Fatalf("the function ended: %s", said)
		default:
		}
		response, err := http.Get(i.url + function.LivePath)
		if err != nil {
			time.Sleep(time.Millisecond) // nothing tells when a process listens
			continue
		}
		_ = response.Body.Close()
		return i
	}
}

// kill ends the process as nobody can catch (SIGKILL), and waits for its end.
func (i *instance) kill() {
	_ = i.command.Process.Kill()
	<-i.ended
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// chained is a client that refreshes over and over, each time with what it was
// last given. When no answer came, or 503, it sends the same again, as the page
// does; there is an instance to send it to when there is one.
type chained struct {
	http       *http.Client
	cookie     string
	generation int64
	unanswered int
	away       int // of these, how often it was told to come again
}

// send refreshes once. Only a refusal is an error.
func (c *chained) send(url string) (answered bool, err error) {
	r, err := http.NewRequest(http.MethodPost, url+"/api/auth/refresh", http.NoBody)
	if err != nil {
		return false, err
	}
	r.AddCookie(&http.Cookie{Name: httpapi.RefreshCookie, Value: c.cookie})
	response, err := c.http.Do(r)
	if err != nil {
		c.unanswered++
		return false, nil
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	set := response.Cookies()
	if response.StatusCode == http.StatusServiceUnavailable && len(set) == 0 && response.Header.Get("Retry-After") != "" {
		c.away++
	}
	if response.StatusCode == http.StatusServiceUnavailable && len(set) == 0 || err != nil {
		c.unanswered++
		return false, nil
	}
	var said struct {
		Generation int64 `json:"gen"`
	}
	if err := json.Unmarshal(text, &said); response.StatusCode != http.StatusOK || err != nil || len(set) != 1 {
		return false, fmt.Errorf("after generation %d: status %d, %s, cookies %v", c.generation, response.StatusCode, text, set)
	}
	// Nobody else has this session: whether an answer was lost or not, the next
	// generation is one more.
	if said.Generation != c.generation+1 {
		return false, fmt.Errorf("generation %d follows %d", said.Generation, c.generation)
	}
	c.cookie, c.generation = set[0].Value, said.Generation
	return true, nil
}

// crowd is 24 clients, each with a session of its own, by the real clock.
type crowd struct {
	*fixture
	clients []*chained
}

func openCrowd(t *testing.T, url string) *crowd {
	t.Helper()
	db, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	f := &fixture{url: pgtest.As(t, url, "refresh"), settings: identitytest.Settings(t), db: db}
	f.settings["DATABASE_URL"], f.settings["RATE_LIMIT_SCALE"] = f.url, unlimited
	f.user = f.newUser(t)
	c := &crowd{fixture: f}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 24}}
	t.Cleanup(client.CloseIdleConnections)
	for range 24 {
		start := time.Now()
		r := f.session(t, func(r *row) { r.IssuedAt, r.ExpiresAt, r.Absolute = start, start.Add(7*day), start.Add(30*day) })
		c.clients = append(c.clients, &chained{http: client, cookie: f.cookie(t, r)})
	}
	return c
}

// all has every client do.
func (c *crowd) all(t *testing.T, do func(*chained) error) {
	t.Helper()
	var clients sync.WaitGroup
	for _, client := range c.clients {
		clients.Go(func() {
			if err := do(client); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}

// once has every client refresh once, as often as that takes.
func (c *crowd) once(t *testing.T, url string) {
	t.Helper()
	c.all(t, func(client *chained) error {
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			if answered, err := client.send(url); answered || err != nil {
				return err
			}
		}
		return errors.New("nothing was answered but 503 for a minute")
	})
}

// lives checks that no session was lost, whatever happened to it.
func (c *crowd) lives(t *testing.T, url string) {
	t.Helper()
	c.once(t, url)
	if n := c.count(t, `sessions WHERE revoked_at IS NULL`); n != len(c.clients) {
		t.Errorf("%d of %d sessions live", n, len(c.clients))
	}
	if n := c.count(t, `auth_events`); n != 0 {
		t.Errorf("%d false alarms", n)
	}
}

// An instance is killed again and again while 24 clients refresh. None is refused,
// none loses its session, and each sees its generations one by one.
func TestKilledInstancesLoseNoSession(t *testing.T) {
	t.Parallel()
	const kills = 6
	c := openCrowd(t, pgtest.URL(t))
	var place atomic.Pointer[instance]
	place.Store(launch(t, c.settings))
	answers := make(chan struct{}, 1<<20)
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for _, client := range c.clients {
		clients.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				at := place.Load()
				answered, err := client.send(at.url)
				if err != nil {
					t.Error(err)
					return
				}
				if answered {
					answers <- struct{}{}
					continue
				}
				select {
				case <-at.ended:
					<-at.next
				default:
				}
			}
		})
	}
	left := make(chan struct{}) // closed when every client has met a refusal
	go func() { clients.Wait(); close(left) }()
	for range kills {
		for range rand.IntN(150) {
			select {
			case <-answers:
			case <-left:
			}
		}
		last := place.Load()
		last.kill()
		place.Store(launch(t, c.settings))
		close(last.next)
	}
	close(enough)
	<-left
	c.lives(t, place.Load().url)
	lost := 0
	for _, client := range c.clients {
		lost += client.unanswered
	}
	t.Logf("%d kills left %d calls without an answer", kills, lost)
}

// Every one of 24 clients has its refresh committed and the instance killed
// before it could say so. All converge.
func TestInstanceKilledBetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	c := openCrowd(t, pgtest.URL(t))
	proxy := pgtest.NewProxy(t, c.url)
	c.settings["DATABASE_POOL"], c.settings["DATABASE_URL"] = "24", proxy.URL
	first := launch(t, c.settings)
	proxy.Hold()
	var asked sync.WaitGroup
	asked.Go(func() {
		c.all(t, func(client *chained) error {
			if answered, err := client.send(first.url); answered || err != nil {
				return fmt.Errorf("an answer came: %v", err)
			}
			return nil
		})
	})
	for c.count(t, `sessions WHERE gen = 1`) < len(c.clients) {
	}
	first.kill()
	asked.Wait()
	proxy.Restore()
	second := launch(t, c.settings)
	c.once(t, second.url)
	// Nothing was rotated twice.
	if n := c.count(t, `sessions WHERE gen = 1 AND cardinality(superseded) = 1`); n != len(c.clients) {
		t.Errorf("%d of %d sessions are at generation 1", n, len(c.clients))
	}
	c.lives(t, second.url)
}
