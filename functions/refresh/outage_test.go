package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// trouble is what happens to a database while everybody refreshes.
type trouble struct {
	url        string // where the function finds the database
	begin, end func() // of the trouble
}

// load is a crowd that refreshes over and over.
type load struct {
	*crowd
	answers chan reply
	enough  chan struct{}
	clients sync.WaitGroup
}

// reply is what one client was told.
type reply struct {
	client *chained
	began  time.Time
	away   bool
}

// answerTime is how long an answer may take, whatever the database does, with a
// machine that has much else to do: TestRefreshGivesUpWithinTwoSeconds is about the two.
const answerTime = 10 * time.Second

// pause is between two calls of a client: shorter than a 503 asks for, and long enough
// for a server to start beside 24 of them.
const pause = 20 * time.Millisecond

// start has every client refresh over and over.
func (c *crowd) start(t *testing.T, url string) *load {
	t.Helper()
	l := &load{crowd: c, answers: make(chan reply, 1<<20), enough: make(chan struct{})}
	for _, client := range c.clients {
		l.clients.Go(func() {
			for {
				began, before := time.Now(), client.away
				answered, err := client.send(url)
				if took := time.Since(began); took > answerTime {
					t.Errorf("an answer took %v", took)
				}
				if !answered && err == nil && client.away == before {
					err = errors.New("no answer, or a 503 that does not say when to come again")
				}
				if err != nil {
					t.Error(err)
					return
				}
				l.answers <- reply{client, began, !answered}
				select {
				case <-l.enough:
					return
				case <-time.After(pause):
				}
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	select {
	case <-l.enough:
	default:
		close(l.enough)
	}
	l.clients.Wait()
}

// everyone waits until each client has had an answer that it asked for after a time,
// of the kind that is wanted, and returns how many others there were meanwhile.
func (l *load) everyone(t *testing.T, since time.Time, away bool) (others int) {
	t.Helper()
	waiting := map[*chained]bool{}
	for _, client := range l.crowd.clients {
		waiting[client] = true
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(waiting) > 0 {
		select {
		case r := <-l.answers:
			switch {
			case r.began.Before(since):
			case r.away == away:
				delete(waiting, r.client)
			default:
				others++
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d clients have not had what they wait for (away: %v)", len(waiting), len(l.crowd.clients), away)
		}
	}
	return others
}

// Whatever becomes of the database, nobody loses a session or an acknowledged
// refresh, everybody is told in time to come again, and the same process serves on
// when it is back.
func TestDatabaseInTroubleUnderLoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		of    func(*testing.T) (owner string, trouble func(*crowd) trouble)
		cause string // in the log
	}{
		"killed":             {killed, ""},
		"failed over":        {failedOver, "SQLSTATE 25006"},
		"out of connections": {outOfConnections, "SQLSTATE 53300"},
		"disk full":          {diskFull, "SQLSTATE 53100"},
		"read-only":          {readOnly, "SQLSTATE 25006"},
		"hangs":              {hangs, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) { // one after another: each is a load
			owner, in := c.of(t)
			crowd := openCrowd(t, owner)
			trouble := in(crowd)
			crowd.settings["DATABASE_URL"] = trouble.url
			function := launch(t, crowd.settings)
			load := crowd.start(t, function.url)
			load.everyone(t, time.Now(), false)
			trouble.begin()
			load.everyone(t, time.Now(), true)
			trouble.end()
			ended := time.Now()
			told := load.everyone(t, ended, false)
			t.Logf("all %d are served again %v after its end, when %d answers still were 503", len(crowd.clients), time.Since(ended).Round(time.Millisecond), told)
			load.stop()
			if said, err := os.ReadFile(function.says); err != nil || !strings.Contains(string(said), c.cause) {
				t.Errorf("the log has nothing of %q: %v", c.cause, err)
			}
			crowd.db.Reset()
			crowd.lives(t, function.url)
		})
	}
}

// answersWhenSafe is a database that does not answer before a commit is on disk, as
// those of tests do otherwise.
func answersWhenSafe(t *testing.T, url string) string {
	return parameter(t, url, "synchronous_commit", "on")
}

// An instance is given no CPU, as between requests, while its connections end. It is
// told so when it goes on, and serves on.
func TestFrozenInstanceServesOn(t *testing.T) {
	t.Parallel()
	crowd := openCrowd(t, pgtest.URL(t))
	proxy := pgtest.NewProxy(t, crowd.url)
	crowd.settings["DATABASE_URL"] = proxy.URL
	function := launch(t, crowd.settings)
	load := crowd.start(t, function.url)
	for range 3 {
		load.everyone(t, time.Now(), false)
		if err := function.command.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		proxy.Break()
		proxy.Restore()
		if err := function.command.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		thawed := time.Now()
		told := load.everyone(t, thawed, false)
		t.Logf("all are served again after %v, when %d answers still were 503", time.Since(thawed).Round(time.Millisecond), told)
	}
	load.stop()
	crowd.lives(t, function.url)
}

func killed(t *testing.T) (string, func(*crowd) trouble) {
	server := pgtest.NewDurableServer(t)
	return server.URL, func(c *crowd) trouble { return trouble{c.url, server.Kill, server.Start} }
}

// failedOver is a server that dies and whose data another takes over at the same
// address, first as a standby.
func failedOver(t *testing.T) (string, func(*crowd) trouble) {
	server := pgtest.NewDurableServer(t)
	address := pgtest.NewProxy(t, server.URL)
	return address.URL, func(c *crowd) trouble {
		return trouble{c.url, func() { server.FailOver(); address.Lead(t, server.URL) }, server.Promote}
	}
}

// through is a database that others share a server with.
func through(t *testing.T, begin, end func(*crowd)) (string, func(*crowd) trouble) {
	return answersWhenSafe(t, pgtest.URL(t)), func(c *crowd) trouble {
		return trouble{c.url, func() { begin(c) }, func() { end(c) }}
	}
}

// name is that of the crowd's database.
func (c *crowd) name(t *testing.T) string {
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path[1:]
}

// disconnect ends the function's connections.
func (c *crowd) disconnect(t *testing.T) {
	c.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename <> current_user`)
}

func outOfConnections(t *testing.T) (string, func(*crowd) trouble) {
	return through(t, func(c *crowd) {
		c.exec(t, "ALTER DATABASE "+c.name(t)+" CONNECTION LIMIT 0") // the owner gets in all the same
		c.disconnect(t)
	}, func(c *crowd) { c.exec(t, "ALTER DATABASE "+c.name(t)+" CONNECTION LIMIT -1") })
}

func readOnly(t *testing.T) (string, func(*crowd) trouble) {
	return through(t, func(c *crowd) {
		c.exec(t, "ALTER DATABASE "+c.name(t)+" SET default_transaction_read_only = on")
		c.disconnect(t)
	}, func(c *crowd) {
		c.exec(t, "SET default_transaction_read_only = off; ALTER DATABASE "+c.name(t)+" RESET default_transaction_read_only")
	})
}

func hangs(t *testing.T) (string, func(*crowd) trouble) {
	server := answersWhenSafe(t, pgtest.URL(t))
	return server, func(c *crowd) trouble {
		proxy := pgtest.NewProxy(t, c.url)
		return trouble{proxy.URL, proxy.Hang, proxy.Restore}
	}
}

// diskFull is a database whose sessions lie on a disk of their own, which fills up. Where
// nobody may mount one, it is told to answer what PostgreSQL does then.
func diskFull(t *testing.T) (string, func(*crowd) trouble) {
	server := pgtest.NewDurableServer(t)
	return server.URL, func(c *crowd) trouble {
		disk, err := smallDisk(t, c)
		if err != nil {
			t.Logf("no disk of its own: %v", err)
			return trouble{c.url, func() {
				c.exec(t, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$`)
				c.exec(t, `CREATE TRIGGER full_disk BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION full_disk()`)
			}, func() { c.exec(t, `DROP TRIGGER full_disk ON sessions`) }}
		}
		c.exec(t, "CREATE TABLESPACE small LOCATION '"+disk+"'")
		c.exec(t, "ALTER TABLE sessions SET TABLESPACE small")
		filler := filepath.Join(disk, "filler")
		var reader pgx.Tx
		return trouble{c.url, func() {
			// What an old snapshot may see is not overwritten, so that the table grows.
			if reader, err = c.db.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}); err != nil {
				t.Fatal(err)
			}
			if _, err := reader.Exec(t.Context(), "SELECT FROM sessions"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filler, make([]byte, diskBytes), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the disk is not full: %v", err)
			}
		}, func() {
			if err := errors.Join(os.Remove(filler), reader.Rollback(t.Context())); err != nil {
				t.Fatal(err)
			}
		}}
	}
}

const diskBytes = 1 << 20

// smallDisk mounts a disk for the server of a crowd's database.
func smallDisk(t *testing.T, c *crowd) (string, error) {
	var data string
	if err := c.db.QueryRow(t.Context(), "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(data)
	if err != nil {
		return "", err
	}
	// Beside the server's folder, which its account may enter.
	disk, err := os.MkdirTemp(filepath.Dir(filepath.Dir(filepath.Dir(data))), "pgtest")
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = os.Remove(disk) })
	if said, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", diskBytes), "tmpfs", disk).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() }) // the server still has it
	owner := info.Sys().(*syscall.Stat_t)
	return disk, os.Chown(disk, int(owner.Uid), int(owner.Gid))
}
