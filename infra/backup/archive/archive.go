package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
)

// database is one that is dumped or restored.
type database struct {
	address  string
	programs programs
	out      io.Writer
}

// dump writes the database to a file that is whole or absent. Who owns what and who
// may do what is not in it: that belongs to the server, and migrate gives it anew.
func (d database) dump(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s is there already; name another file: %w", file, errUsage)
	}
	version, _, err := d.look(ctx)
	if err != nil {
		return err
	}
	program, err := d.programs.find(ctx, "pg_dump", version)
	if err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part") // for its owner alone
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(part.Name()) }()
	address, password := apart(d.address)
	err = call(ctx, nil, part, password, program, "--format=custom", "--no-owner", "--no-privileges", "--dbname="+address)
	size, sizeErr := part.Seek(0, io.SeekEnd)
	if err := errors.Join(err, sizeErr, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), file); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%s: %.1f MB of a PostgreSQL %d. It holds password hashes and sessions: keep it as you keep the database.\n", file, float64(size)/1e6, version)
	return nil
}

// restore makes the file the database, all of it or nothing, brings the schema to
// the version of this commit and gives the functions their rights.
func (d database) restore(ctx context.Context, file string, replace bool, members []migrate.Member) error {
	from, err := d.inspect(ctx, file)
	if err != nil {
		return err
	}
	version, objects, err := d.look(ctx)
	switch {
	case err != nil:
		return err
	case version < from:
		return fmt.Errorf("%s was written by pg_dump %d, and the server is a PostgreSQL %d: restore into one of %d or later", file, from, version, from)
	case len(objects) > 0 && !replace:
		return fmt.Errorf("the database is not empty: it has %s%s. Name an empty one, or lose what is in this one with -replace; %w",
			strings.Join(objects[:min(3, len(objects))], ", "), map[bool]string{true: " and more"}[len(objects) > 3], errUsage)
	}
	if err := d.load(ctx, file, from, replace); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	did, err := migrate.Up(ctx, d.address, members...)
	if err != nil {
		return fmt.Errorf("the data is restored; what follows it failed and can be repeated with migrations/cmd: %w", err)
	}
	fmt.Fprintf(d.out, "restored %s; %d later migrations applied, %d logins of functions given their rights\n", file, len(did.Applied), len(did.Joined))
	return nil
}

// inspect reads the whole file and returns the major version of who wrote it.
func (d database) inspect(ctx context.Context, file string) (major int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", err, errUsage)
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 5)
	if _, err := io.ReadFull(f, start); err != nil || string(start) != "PGDMP" {
		return 0, fmt.Errorf("%s is no dump of this command (pg_dump, custom format): %w", file, errUsage)
	}
	readers := d.programs.all(ctx, "pg_restore")
	if len(readers) == 0 {
		_, err := d.programs.find(ctx, "pg_restore", 1)
		return 0, err
	}
	reader := readers[len(readers)-1]
	var list bytes.Buffer
	err = call(ctx, nil, &list, "", reader.file, "--list", file)
	if err != nil && strings.Contains(err.Error(), "unsupported version") {
		return 0, fmt.Errorf("%s was written by a later pg_dump than the pg_restore %d here can read: install a later postgresql-client: %w", file, reader.major, err)
	}
	if err == nil {
		err = call(ctx, nil, io.Discard, "", reader.file, "--file=-", file)
	}
	if err != nil {
		return 0, fmt.Errorf("%s is broken or cut off, and nothing was touched; take another: %w", file, err)
	}
	found := regexp.MustCompile(`(?m)^; +Dumped by pg_dump version: (\S+)`).FindSubmatch(list.Bytes())
	if found == nil {
		return 0, fmt.Errorf("%s does not say which pg_dump wrote it", file)
	}
	return majorOf(string(found[1])), nil
}

// objects lists what there is in the schema that is ours: what DROP calls its kind,
// and its name.
const objects = `
	SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
		oid::regclass::text AS name, oid
	FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
	UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace`

// own leaves out what belongs to an extension, or goes with its table.
const own = ` WHERE NOT EXISTS (SELECT FROM pg_depend WHERE objid = o.oid AND deptype IN ('e', 'i', 'a'))`

// look returns the server's major version and what the database holds.
func (d database) look(ctx context.Context) (major int, held []string, err error) {
	conn, err := pgx.Connect(ctx, d.address)
	if err != nil {
		return 0, nil, fmt.Errorf("the database at DATABASE_URL does not let us in: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&major); err != nil {
		return 0, nil, err
	}
	rows, err := conn.Query(ctx, "SELECT lower(kind) || ' ' || name FROM ("+objects+") o"+own+" ORDER BY kind DESC, name")
	if err != nil {
		return 0, nil, err
	}
	held, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return major, held, err
}

// empty drops what is in the way, in the transaction of what comes instead.
const empty = `DO $empty$ DECLARE statement text; BEGIN
	FOR statement IN SELECT format('DROP %s IF EXISTS %s CASCADE', kind, name) FROM (` + objects + `) o` + own + ` ORDER BY kind = 'ROUTINE' LOOP
		EXECUTE statement;
	END LOOP;
END $empty$;
`

// load runs the file's statements in one transaction, with programs of the version
// that wrote it.
func (d database) load(ctx context.Context, file string, version int, replace bool) error {
	reader, err := d.programs.find(ctx, "pg_restore", version)
	if err != nil {
		return err
	}
	client, err := d.programs.find(ctx, "psql", version)
	if err != nil {
		return err
	}
	begin := "BEGIN;\n"
	if replace {
		begin += empty
	}
	address, password := apart(d.address)
	statements, into := io.Pipe()
	var reading sync.WaitGroup
	var read error
	reading.Go(func() {
		read = call(ctx, nil, into, "", reader, "--no-owner", "--no-privileges", "--file=-", file)
		// At the end of its input psql leaves, whether or not it was the end of the
		// file: without this line nothing has happened.
		if read == nil {
			_, read = io.WriteString(into, "\nCOMMIT;\n")
		}
		_ = into.Close()
	})
	err = call(ctx, io.MultiReader(strings.NewReader(begin), statements), io.Discard, password, client,
		"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+address)
	_ = statements.Close()
	reading.Wait()
	return cmp.Or(err, read)
}
