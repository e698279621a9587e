package archive

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres/cloudsqltest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// backup runs the command for the database at address.
func backup(t *testing.T, address string, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = Run(t.Context(), args, environment(address), &out)
	return code, out.String()
}

func environment(address string) func(string) string {
	return func(name string) string {
		if name == "DATABASE_URL" {
			return address
		}
		return map[string]string{"PATH": os.Getenv("PATH")}[name]
	}
}

func execute(t *testing.T, address string, statements ...string) {
	t.Helper()
	conn := connect(t, address)
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// filled returns the address of a database with a row, and empty that of one with
// nothing in it.
func filled(t *testing.T) string {
	t.Helper()
	address := pgtest.URL(t)
	execute(t, address, "INSERT INTO teams (name, time_zone) VALUES ('the team of the dump', 'UTC')")
	return address
}

func emptied(t *testing.T) string {
	t.Helper()
	address := pgtest.URL(t)
	execute(t, address, empty)
	return address
}

// teams names what is in the table of teams, which may not be there.
func teams(t *testing.T, address string) string {
	t.Helper()
	var names string
	if err := connect(t, address).QueryRow(t.Context(), "SELECT coalesce(string_agg(name, ','), '') FROM teams").Scan(&names); err != nil {
		return err.Error()
	}
	return names
}

func dumped(t *testing.T, address string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.dump")
	if code, said := backup(t, address, "dump", file); code != 0 || !strings.HasPrefix(said, file+": ") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	return file
}

func TestRestoreMakesTheDatabaseAnew(t *testing.T) {
	t.Parallel()
	file := dumped(t, filled(t))
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("others can read it: %v, %v", info.Mode(), err)
	}
	into := emptied(t)
	if code, said := backup(t, into, "restore", file); code != 0 || !strings.HasPrefix(said, "restored "+file+"; 0 later") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if got := teams(t, into); got != "the team of the dump" {
		t.Errorf("restored were %q", got)
	}
}

func TestWhatIsThereIsLostOnlyWhenTold(t *testing.T) {
	t.Parallel()
	file := dumped(t, filled(t))
	into := pgtest.URL(t)
	execute(t, into, "INSERT INTO teams (name, time_zone) VALUES ('another team', 'UTC')", "CREATE TABLE of_a_later_version (id int)",
		"CREATE VIEW of_something AS SELECT 1", "CREATE FUNCTION of_something_else() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	code, said := backup(t, into, "restore", file)
	if code != 2 || !strings.Contains(said, "is not empty: it has view of_something, table api_tokens, table auth_events and more") || teams(t, into) != "another team" {
		t.Errorf("exit code %d, %s, left is %s", code, said, teams(t, into))
	}
	if code, said := backup(t, into, "restore", "-replace", file); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var left bool
	if err := connect(t, into).QueryRow(t.Context(), "SELECT to_regclass('of_a_later_version') IS NOT NULL OR to_regproc('of_something_else') IS NOT NULL").Scan(&left); err != nil || left {
		t.Errorf("something is left: %v, %v", left, err)
	}
	if got := teams(t, into); got != "the team of the dump" {
		t.Errorf("restored were %q", got)
	}
}

// TestARestoreThatFailsChangesNothing has the restore fail late, when the other
// tables are there.
func TestARestoreThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	from := filled(t)
	execute(t, from, "CREATE TABLE zone (name text CHECK (name <> current_setting('application_name')))", "INSERT INTO zone VALUES ('psql')")
	file := dumped(t, from)
	into := pgtest.URL(t)
	execute(t, into, "INSERT INTO teams (name, time_zone) VALUES ('another team', 'UTC')")
	code, said := backup(t, into, "restore", "-replace", file)
	if code != 1 || !strings.Contains(said, "nothing was changed: psql: ") || !strings.Contains(said, "zone_name_check") || teams(t, into) != "another team" {
		t.Errorf("exit code %d, %s, left is %s", code, said, teams(t, into))
	}
}

func TestABrokenFileTouchesNothing(t *testing.T) {
	t.Parallel()
	from := filled(t)
	// So that most of the file is data, which comes after the list of what is in it.
	execute(t, from, "INSERT INTO teams (name, time_zone) SELECT md5(i::text), 'UTC' FROM generate_series(1, 5000) i")
	file := dumped(t, from)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Clone(whole)
	later[6] = 99 // the format's minor version
	scratched := bytes.Clone(whole)
	for i := len(scratched) / 2; i < len(scratched); i++ {
		scratched[i] ^= 0xff
	}
	into := pgtest.URL(t)
	execute(t, into, "INSERT INTO teams (name, time_zone) VALUES ('another team', 'UTC')")
	for name, test := range map[string]struct {
		content []byte
		code    int
		want    string
	}{
		"empty":       {nil, 2, "is no dump of this command"},
		"SQL":         {[]byte("CREATE TABLE t ();"), 2, "is no dump of this command"},
		"a header":    {whole[:5], 1, "is broken or cut off"},
		"half of it":  {whole[:len(whole)/2], 1, "is broken or cut off"},
		"nearly all":  {whole[:len(whole)-1000], 1, "is broken or cut off"},
		"scratched":   {scratched, 1, "is broken or cut off"},
		"a later one": {later, 1, "was written by a later pg_dump than the pg_restore"},
	} {
		path := filepath.Join(t.TempDir(), "broken")
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, said := backup(t, into, "restore", "-replace", path); code != test.code || !strings.Contains(said, test.want) {
			t.Errorf("%s: exit code %d, %s", name, code, said)
		}
	}
	if code, said := backup(t, into, "restore", "-replace", filepath.Join(t.TempDir(), "none")); code != 2 || !strings.Contains(said, "no such file") {
		t.Errorf("no file: exit code %d, %s", code, said)
	}
	if got := teams(t, into); got != "another team" {
		t.Errorf("left is %q", got)
	}
}

// TestAFileThatBreaksWhileItIsReadChangesNothing stands in for a disk that fails
// after the file was inspected.
func TestAFileThatBreaksWhileItIsReadChangesNothing(t *testing.T) {
	t.Parallel()
	file := dumped(t, filled(t))
	into := pgtest.URL(t)
	execute(t, into, "INSERT INTO teams (name, time_zone) VALUES ('another team', 'UTC')")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	d := database{address: into, programs: programs{path: os.Getenv("PATH"), usual: usualFolders}, out: &bytes.Buffer{}}
	if err := d.load(t.Context(), file, 1, true); err == nil || !strings.Contains(err.Error(), "pg_restore: ") {
		t.Errorf("%v", err)
	}
	if got := teams(t, into); got != "another team" {
		t.Errorf("left is %q", got)
	}
}

func TestADumpIsWholeOrAbsent(t *testing.T) {
	t.Parallel()
	from := filled(t)
	file := dumped(t, from)
	before, _ := os.ReadFile(file)
	if code, said := backup(t, from, "dump", file); code != 2 || !strings.Contains(said, "is there already") {
		t.Errorf("over another: exit code %d, %s", code, said)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("the other was changed")
	}
	folder := t.TempDir()
	if code, said := backup(t, from, "dump", filepath.Join(folder, "none", "a.dump")); code != 1 || !strings.Contains(said, "no such file") {
		t.Errorf("in no folder: exit code %d, %s", code, said)
	}
	// A login that may not read everything.
	reader := pgtest.As(t, from, "rollup")
	if code, said := backup(t, reader, "dump", filepath.Join(folder, "a.dump")); code != 1 || !strings.Contains(said, "pg_dump: ") || !strings.Contains(said, "permission denied") {
		t.Errorf("without rights: exit code %d, %s", code, said)
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestProgramsOfTheWrongAge(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"pg_dump": "echo 'pg_dump (PostgreSQL) 9.6.24'", "pg_restore": "echo 'pg_restore (PostgreSQL) 12.1'", "psql": "exit 1",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	address := filled(t)
	d := database{address: address, programs: programs{path: folder}, out: &bytes.Buffer{}}
	if err := d.dump(t.Context(), filepath.Join(folder, "a.dump")); err == nil || !strings.Contains(err.Error(), "the latest here is 9: install postgresql-client-") {
		t.Errorf("an old pg_dump: %v", err)
	}
	file := dumped(t, address)
	if err := d.load(t.Context(), file, 15, false); err == nil || !strings.Contains(err.Error(), "pg_restore of PostgreSQL 15 or later, and the latest here is 12") {
		t.Errorf("an old pg_restore: %v", err)
	}
	if err := d.load(t.Context(), file, 12, false); err == nil || !strings.Contains(err.Error(), "psql of PostgreSQL 12 or later, and the latest here is none") {
		t.Errorf("no psql: %v", err)
	}
	if _, err := d.inspect(t.Context(), file); err == nil || !strings.Contains(err.Error(), "does not say which pg_dump") {
		t.Errorf("a pg_restore that says nothing: %v", err)
	}
	d.programs.path = t.TempDir()
	if err := d.restore(t.Context(), file, false, nil); err == nil || !strings.Contains(err.Error(), "pg_restore of PostgreSQL 1 or later") {
		t.Errorf("no pg_restore: %v", err)
	}
	// One that claims the dump is of the future.
	future := "#!/bin/sh\ncase $1 in --version) echo 'pg_restore (PostgreSQL) 99.1' ;; --list) echo ';     Dumped by pg_dump version: 99.1' ;; esac\n"
	if err := os.WriteFile(filepath.Join(folder, "pg_restore"), []byte(future), 0o700); err != nil {
		t.Fatal(err)
	}
	d.programs.path = folder
	if err := d.restore(t.Context(), file, true, nil); err == nil || !strings.Contains(err.Error(), "written by pg_dump 99, and the server is a PostgreSQL") {
		t.Errorf("a dump of a later server: %v", err)
	}
}

func TestMajorOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"pg_dump (PostgreSQL) 17.5 (Debian 17.5-1.pgdg120+1)": 17, "psql (PostgreSQL) 18beta1\n": 18, "9.6.24": 9, "15.18 (Debian 15.18-0+deb12u1)": 15, "no version": 0, "": 0,
	} {
		if got := majorOf(text); got != want {
			t.Errorf("%q is of %d, want %d", text, got, want)
		}
	}
}

// TestCloudSQL dumps and restores a database behind an instance.
func TestCloudSQL(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.dump")
	into := emptied(t)
	for _, step := range []struct {
		database string
		args     []string
	}{{filled(t), []string{"dump", file}}, {into, []string{"restore", file}}} {
		proxy := pgtest.NewProxy(t, step.database)
		at, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := cloudsqltest.New(t, at.Host)
		at.Host, at.RawQuery = "", "host=/cloudsql/"+cloudsqltest.Name
		var out bytes.Buffer
		if code := Run(t.Context(), step.args, environment(at.String()), &out, c.PasswordOptions()...); code != 0 {
			t.Fatalf("%v: exit code %d: %s", step.args, code, out.String())
		}
	}
	if got := teams(t, into); got != "the team of the dump" {
		t.Errorf("restored were %q", got)
	}
}

func TestCommandSaysHowItIsUsed(t *testing.T) {
	t.Parallel()
	address := filled(t)
	for want, args := range map[string][]string{
		"say what to do": {}, "say what to do ": {"file"}, "say what to do and": {"dump"}, "say what to do and with": {"dump", "a", "b"},
		"say what to do and with which": {"dump", "-replace", "a"}, "say what to do and with which file": {"restore"}, "not defined: -what": {"restore", "-what", "a"},
	} {
		if code, said := backup(t, address, args...); code != 2 || !strings.Contains(said, strings.TrimSpace(want)) {
			t.Errorf("%q: exit code %d, %s", args, code, said)
		}
	}
	if code, said := backup(t, address, "-h"); code != 0 || said != usage {
		t.Errorf("-h: exit code %d, %s", code, said)
	}
	if code, said := backup(t, "", "dump", "a"); code != 2 || !strings.Contains(said, "set DATABASE_URL") {
		t.Errorf("without an address: exit code %d, %s", code, said)
	}
	if code, said := backup(t, "dbname=hush", "dump", "a"); code != 1 || !strings.Contains(said, "must read postgres://") {
		t.Errorf("another address: exit code %d, %s", code, said)
	}
	if code, said := backup(t, "postgres://u:hush@127.0.0.1:1/d", "dump", filepath.Join(t.TempDir(), "a")); code != 1 || !strings.Contains(said, "does not let us in") || strings.Contains(said, "hush") {
		t.Errorf("nobody there: exit code %d, %s", code, said)
	}
	var out bytes.Buffer
	wrong := func(name string) string {
		return map[string]string{"DATABASE_URL": address, "DATABASE_MEMBERS": "nobody=x"}[name]
	}
	if code := Run(t.Context(), []string{"restore", "a"}, wrong, &out); code != 2 || !strings.Contains(out.String(), `no function "nobody"`) {
		t.Errorf("members that are none: exit code %d, %s", code, out.String())
	}
}

func TestPasswordsAreNoArguments(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://u:hush@h:5432/d?sslmode=require":        "postgres://u@h:5432/d?sslmode=require hush",
		"postgres://u@h/d?password=hush&sslmode=disable":    "postgres://u@h/d?sslmode=disable hush",
		"postgres:///d?host=%2Frun%2Fpostgresql":            "postgres:///d?host=%2Frun%2Fpostgresql ",
		"postgres://u:a%40b@h/d":                            "postgres://u@h/d a@b",
		"postgres://u:not-me@h/d?password=hush&connect_x=1": "postgres://u@h/d?connect_x=1 hush",
		"postgres://h:port":                                 "postgres://h:port ",
	} {
		without, password := apart(address)
		if got := fmt.Sprint(without, " ", password); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
