package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestLinksArePrinted(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	settings := map[string]string{"DATABASE_URL": pgtest.As(t, url, "auth"), "PUBLIC_ORIGIN": "https://dash.example.com"}
	run := func(args ...string) (code int, out, said string) {
		var stdout, stderr bytes.Buffer
		code = Run(t.Context(), args, func(name string) (string, bool) {
			value, ok := settings[name]
			return value, ok
		}, &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close(t.Context()) })
	if _, err := db.Exec(t.Context(), "INSERT INTO users (email, email_key, name, password_hash) VALUES ('Ada@example.com', 'ada@example.com', 'Ada', '-')"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, kind string }{{"owner", "owner"}, {"password ada@EXAMPLE.com", "password"}} {
		code, out, said := run(strings.Fields(c.args)...)
		found := regexp.MustCompile(`^https://dash\.example\.com/#` + c.kind + `=(dd_lnk_\w+)\n$`).FindStringSubmatch(out)
		if code != 0 || found == nil || said != "" {
			t.Fatalf("%s: %d %q %q", c.args, code, out, said)
		}
		var kind string
		if err := db.QueryRow(t.Context(), "SELECT kind FROM links WHERE secret_hash = $1 AND expires_at > now()", access.DigestOf(found[1]).Bytes()).Scan(&kind); err != nil || kind != c.kind {
			t.Errorf("%s: kept is %q, %v", c.args, kind, err)
		}
	}
	for _, args := range []string{"", "owner now", "password", "password a b", "help"} {
		if code, out, said := run(strings.Fields(args)...); code != 2 || out != "" || said != usage {
			t.Errorf("%q: %d %q %q", args, code, out, said)
		}
	}
	if code, out, said := run("password", "nobody@example.com"); code != 1 || out != "" || said != "there is no account with this e-mail address\n" {
		t.Errorf("%d %q %q", code, out, said)
	}
	delete(settings, "PUBLIC_ORIGIN")
	if code, out, said := run("owner"); code != 0 || !strings.HasPrefix(out, "/#owner=") || !strings.Contains(said, "PUBLIC_ORIGIN is not set") {
		t.Errorf("%d %q %q", code, out, said)
	}
	settings["DATABASE_URL"] = ""
	if code, out, said := run("owner"); code != 1 || out != "" || !strings.Contains(said, "DATABASE_URL") {
		t.Errorf("%d %q %q", code, out, said)
	}
}
