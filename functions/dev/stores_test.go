package main

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestFunctionsSignInApartWherePostgreSQLIsEmbedded(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	gone := make(chan struct{})
	for n, proxy := range pgtest.Breaks(t, server.URL) {
		s := &stores{databaseURL: proxy.URL, ended: gone}
		if err := s.signApart(t.Context(), functions.All); proxy.Broken() != (err != nil) {
			t.Errorf("step %d: broken is %v, the error %v", n, proxy.Broken(), err)
		}
	}
	s := &stores{databaseURL: server.URL, ended: gone}
	for range 2 { // the second start finds the logins
		if err := s.signApart(t.Context(), functions.All); err != nil {
			t.Fatal(err)
		}
	}
	apart := 0
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) == "" {
			continue
		}
		apart++
		conn, err := pgx.Connect(t.Context(), s.database(fn.Name))
		if err != nil {
			t.Fatal(err)
		}
		var login string
		var super bool
		err = conn.QueryRow(t.Context(), "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = session_user").Scan(&login, &super)
		_ = conn.Close(context.WithoutCancel(t.Context()))
		if err != nil || login != "local_"+fn.Name || super {
			t.Errorf("%s signs in as %s, a superuser: %v, %v", fn.Name, login, super, err)
		}
	}
	if got := s.database("web"); got != server.URL {
		t.Errorf("a function without a database was given %s", got)
	}
	if s.pool() != "8" || apart*8 > 60 {
		t.Errorf("%d pools of %s connections come near the 100 of a server", apart, s.pool())
	}

	shared := &stores{databaseURL: server.URL}
	if err := shared.signApart(t.Context(), functions.All); err != nil {
		t.Fatal(err)
	}
	if shared.database("auth") != server.URL || shared.pool() != "16" {
		t.Errorf("another's database is used as %s, %s connections", shared.database("auth"), shared.pool())
	}
}

func TestNoLoginsWithoutADatabase(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://host:port", "postgres://postgres@127.0.0.1:1/postgres?connect_timeout=1"} {
		if err := (&stores{databaseURL: url, ended: make(chan struct{})}).signApart(t.Context(), functions.All); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
}
