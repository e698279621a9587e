package refresh_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/function/stage"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// bounds are the least parts of the rate of pgbench, which runs the statement and
// nothing else, that the function reaches over HTTP.
var bounds = []struct {
	connections int
	least       float64
}{{1, 0.45}, {16, 0.40}, {64, 0.40}}

const (
	benchRounds  = 5
	benchTime    = 2 * time.Second // of each measurement
	benchSession = 10_000          // rows in the table; each connection has one of its own
)

// BenchmarkRefresh measures the function in a process of its own with one processor,
// as it is deployed, beside `pgbench -M prepared` with the same statement on the same
// server under the same login, for whose columns PostgreSQL looks at the grants of
// each statement; and, for the record, as the owner, for whom it does not. At each
// number of connections the medians of five measurements of each, in turns. Both sides go from each token to its successor, one session to a
// connection. What makes the calls runs on the same processors. Other work on the
// machine slows the few threads of the function more than the many processes of
// pgbench: figures of a busy machine say nothing.
//
//	go test ./functions/refresh -run '^$' -bench Refresh -benchtime 1x
func BenchmarkRefresh(b *testing.B) {
	pgbench, err := exec.LookPath("pgbench")
	if err != nil {
		b.Skip("there is no pgbench; bring it with: apt-get install postgresql-contrib")
	}
	f := benchFixture(b)
	f.settings["GOMAXPROCS"] = "1"
	served := launchProgram(b, compiled(b), f.settings)
	script := f.script(b)
	for _, bound := range bounds {
		b.Run(strconv.Itoa(bound.connections), func(b *testing.B) {
			f.load(b, served.url, bound.connections, benchTime/4) // connections are open, statements prepared
			got := f.measure(b, served, pgbench, script, bound.connections)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(got.rate, "refreshes/s")
			b.ReportMetric(got.bare, "pgbench/s")
			b.ReportMetric(got.ratio, "of-pgbench")
			b.ReportMetric(got.owners, "of-pgbench-as-owner")
			b.ReportMetric(got.cost, "cpu-µs/refresh")
			if got.ratio < bound.least {
				b.Errorf("%s; want %.2f", got, bound.least)
			}
		})
	}
}

// compiled returns the function's program, built as it is deployed.
func compiled(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "refresh")
	if out, err := exec.Command("go", "build", "-tags", stage.Tags, "-ldflags", "-s -w", "-o", program, "./cmd").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return program
}

// measured are the medians of one set of measurements.
type measured struct {
	rate, bare float64 // a second
	ratio      float64
	owners     float64 // ratio to pgbench as the owner
	cost       float64 // microseconds of processor for each
}

func (m measured) String() string {
	return fmt.Sprintf("%.2f of the rate of pgbench, %.2f of its rate as the owner: %.0f of %.0f a second, %.0f µs of processor each", m.ratio, m.owners, m.rate, m.bare, m.cost)
}

func (f *fixture) measure(b *testing.B, served *instance, pgbench, script string, connections int) measured {
	b.Helper()
	var ratios, owners, rates, bare, costs []float64
	for range benchRounds {
		owner := f.pgbench(b, pgbench, script, f.url, connections)
		statement := f.pgbench(b, pgbench, script, f.settings["DATABASE_URL"], connections)
		before := processorTime(b, served)
		n, took := f.load(b, served.url, connections, benchTime)
		rate := float64(n) / took.Seconds()
		costs = append(costs, float64(processorTime(b, served)-before)/float64(time.Microsecond)/float64(n))
		rates, bare = append(rates, rate), append(bare, statement)
		ratios, owners = append(ratios, rate/statement), append(owners, rate/owner)
	}
	return measured{rate: median(rates), bare: median(bare), ratio: median(ratios), owners: median(owners), cost: median(costs)}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

func benchFixture(b *testing.B) *fixture {
	b.Helper()
	address := os.Getenv("DATABASE_URL")
	if address == "" {
		address = pgtest.NewDurableServer(b).URL
	} else {
		address = pgtest.URL(b)
	}
	db, err := pgxpool.New(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	f := &fixture{url: address, settings: identitytest.Settings(b), db: db}
	f.settings["DATABASE_URL"], f.settings["RATE_LIMIT_SCALE"] = pgtest.As(b, address, "refresh"), unlimited
	f.user = f.newUser(b)
	f.exec(b, `INSERT INTO sessions (user_id, issued_at, expires_at, absolute_expires_at, epoch)
		SELECT $1, now(), now() + interval '7 days', now() + interval '30 days', 0 FROM generate_series(1, $2)`, f.user, benchSession)
	f.exec(b, `CREATE TABLE slots AS SELECT row_number() OVER (ORDER BY id) - 1 AS n, id FROM sessions`)
	f.exec(b, `ALTER TABLE slots ADD PRIMARY KEY (n)`)
	f.exec(b, `GRANT SELECT ON slots TO `+function.DatabaseRole(refresh.Function))
	f.exec(b, `VACUUM ANALYZE`)
	return f
}

// script is the statement for pgbench. The columns of its answer become the
// parameters of the next: the token is presented that was just given.
func (f *fixture) script(b *testing.B) string {
	b.Helper()
	// $5 is the next token's id, which we make and pgbench cannot.
	parameters := strings.NewReplacer("$1", " :id", "$2", " :user_id", "$3", " :gen", "$4", " :jti", "$5::uuid", "gen_random_uuid()", "$6", " :grace", "$7", " :lifetime", "$8", " :remembered")
	text := `\if :started
\else
SELECT s.id, s.user_id, s.gen, s.jti FROM slots JOIN sessions s USING (id) WHERE n = :client_id \gset
\set started 1
\endif
` + strings.TrimSpace(parameters.Replace(refresh.RotateSQL)) + ` \gset
`
	path := filepath.Join(b.TempDir(), "rotate.sql")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

var ratePattern = regexp.MustCompile(`(?m)^tps = ([\d.]+) \(without initial connection time\)`)

// pgbench returns how many refreshes a second the statement alone allows.
func (f *fixture) pgbench(b *testing.B, program, script, url string, connections int) float64 {
	b.Helper()
	before := f.rotations(b)
	out, err := exec.Command(program, "-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(connections, runtime.GOMAXPROCS(0))),
		"-T", strconv.Itoa(int(benchTime/time.Second)), "-f", script,
		"-D", "started=0", "-D", "grace=30 seconds", "-D", "lifetime=7 days", "-D", "remembered=16", url).CombinedOutput()
	found := ratePattern.FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("pgbench: %v\n%s", err, out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	if rotated := float64(f.rotations(b) - before); rotated < rate {
		b.Fatalf("pgbench claims %.0f a second and rotated %.0f", rate, rotated)
	}
	return rate
}

func (f *fixture) rotations(b *testing.B) int {
	b.Helper()
	var n int
	if err := f.db.QueryRow(b.Context(), `SELECT sum(gen) FROM sessions WHERE revoked_at IS NULL`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// load refreshes over so many connections for a while.
func (f *fixture) load(b *testing.B, url string, connections int, during time.Duration) (n int, took time.Duration) {
	b.Helper()
	var clients []*wire
	for i := range connections {
		var id uuid.UUID
		if err := f.db.QueryRow(b.Context(), `SELECT id FROM slots WHERE n = $1`, i).Scan(&id); err != nil {
			b.Fatal(err)
		}
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		clients = append(clients, &wire{connection: connection, reader: bufio.NewReader(connection), cookie: []byte(f.cookie(b, f.row(b, id)))})
	}
	var all sync.WaitGroup
	counts := make([]int, connections)
	started := time.Now()
	for i, client := range clients {
		all.Go(func() {
			for time.Since(started) < during {
				if err := client.refresh(); err != nil {
					b.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	took = time.Since(started)
	for _, count := range counts {
		n += count
	}
	return n, took
}

// wire is the least that refreshes: it writes a request and takes the cookie from
// what it reads.
type wire struct {
	connection net.Conn
	reader     *bufio.Reader
	request    []byte
	cookie     []byte
}

var (
	requestStart = []byte("POST /api/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nCookie: " + httpapi.RefreshCookie + "=")
	setCookie    = []byte("Set-Cookie: " + httpapi.RefreshCookie + "=")
	bodyLength   = []byte("Content-Length: ")
	statusOK     = []byte("HTTP/1.1 200 ")
)

func (w *wire) refresh() error {
	w.request = append(append(append(w.request[:0], requestStart...), w.cookie...), "\r\n\r\n"...)
	if _, err := w.connection.Write(w.request); err != nil {
		return err
	}
	length, set := -1, false
	for first := true; ; first = false {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, statusOK) {
			rest, _ := w.reader.Peek(w.reader.Buffered())
			return fmt.Errorf("%s%s", line, rest)
		}
		if value, ok := bytes.CutPrefix(line, setCookie); ok {
			end := bytes.IndexByte(value, ';')
			w.cookie, set = append(w.cookie[:0], value[:end]...), true
		}
		if value, ok := bytes.CutPrefix(line, bodyLength); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == 2 {
			break
		}
	}
	if !set || length < 0 {
		return errors.New("an answer without a cookie or a length")
	}
	_, err := io.CopyN(io.Discard, w.reader, int64(length))
	return err
}

// processorTime is what the function's process has taken of the processors, in
// itself and in the system for it.
func processorTime(b *testing.B, i *instance) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", i.command.Process.Pid))
	if err != nil {
		b.Skip("only Linux tells what a running process takes")
	}
	// The second field is a name in brackets; utime and stime are the 14th and
	// 15th, in hundredths of a second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var total time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total
}
