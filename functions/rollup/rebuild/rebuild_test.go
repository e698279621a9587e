package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/dev/demo"
	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func ask(t *testing.T, address string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = Run(t.Context(), func(string) string { return address }, &out)
	return code, out.String()
}

// rollups sums up what is derived, row for row.
func rollups(t *testing.T, db *pgxpool.Pool) string {
	t.Helper()
	var all string
	for _, table := range []string{"rollup_deployments", "rollup_samples", "rollup_commits"} {
		var count int
		var sum string
		if err := db.QueryRow(t.Context(), "SELECT count(*), md5(string_agg(r::text, E'\n' ORDER BY r::text)) FROM "+table+" r").Scan(&count, &sum); err != nil || count < 50 {
			t.Fatalf("%s: %d rows, %v", table, count, err)
		}
		all += fmt.Sprintln(table, count, sum)
	}
	return all
}

func TestRollupsAreAsTheyWereAfterAnything(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	db, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	login := pgtest.As(t, address, "rollup")
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { return login, name == "DATABASE_URL" })
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	handler, err := function.Handler(env, rollup.Function)
	if err != nil {
		t.Fatal(err)
	}
	condense := func() {
		t.Helper()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/rollup/condense", nil))
		if answer.Code != 200 || !strings.Contains(answer.Body.String(), `"left":0`) {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	var team uuid.UUID
	// A zone in which the day of many commits is another than in UTC.
	if err := db.QueryRow(t.Context(), "INSERT INTO teams (name, time_zone) VALUES ('t', 'Pacific/Auckland') RETURNING id").Scan(&team); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Import(t.Context(), postgres.Over(db), team, demo.New(1, time.Now()), nil); err != nil {
		t.Fatal(err)
	}
	condense()
	want := rollups(t, db)
	for name, damage := range map[string]string{
		"days that are gone":           "DELETE FROM rollup_deployments; DELETE FROM rollup_samples; DELETE FROM rollup_commits",
		"counts that are wrong":        "UPDATE rollup_deployments SET deployed = deployed + 1; UPDATE rollup_samples SET n = n + 1; UPDATE rollup_commits SET commits = 0",
		"deployments of no facts":      "INSERT INTO rollup_deployments SELECT DISTINCT environment_id, '1999-12-31'::date, 1, 1, 1 FROM deployments",
		"samples of no facts":          "INSERT INTO rollup_samples SELECT DISTINCT environment_id, 'change_lead_time', '1999-12-31'::date, 1, 0, '{1}'::int[] FROM deployments",
		"commits of no facts":          "INSERT INTO rollup_commits SELECT DISTINCT repository_id, '1999-12-31'::date, 1 FROM commits",
		"nothing, and once more again": "SELECT 1",
	} {
		if _, err := db.Exec(t.Context(), damage); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if code, said := ask(t, address); code != 0 || !strings.Contains(said, " days are marked") || strings.HasPrefix(said, "0 ") {
			t.Fatalf("%s: exit code %d, %s", name, code, said)
		}
		condense()
		if diff := cmp.Diff(want, rollups(t, db)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestCommandSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                              "2 set DATABASE_URL",
		"host=h":                        "1 the database's address must read postgres://",
		"postgres://u:hush@127.0.0.1:1": "1 the database at DATABASE_URL does not let us in",
	} {
		code, said := ask(t, address)
		if got := fmt.Sprint(code, " ", said); !strings.HasPrefix(got, want) || strings.Contains(said, "hush") {
			t.Errorf("%q: %s", address, got)
		}
	}
	if code, said := ask(t, pgtest.As(t, pgtest.URL(t), "health")); code != 1 || !strings.Contains(said, "permission denied") {
		t.Errorf("without rights: exit code %d, %s", code, said)
	}
}
