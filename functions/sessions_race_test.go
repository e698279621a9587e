package functions_test

import (
	"context"
	"net/http"
	"testing"
)

// hold has the statements that meet the trigger wait, in the middle of what they
// do, until the test goes on.
func (e *estate) hold(t *testing.T, trigger string) (release func()) {
	t.Helper()
	e.exec(t, `CREATE OR REPLACE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END'`)
	e.exec(t, `CREATE TRIGGER held `+trigger+` EXECUTE FUNCTION held()`)
	conn, err := e.db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_lock(1)`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.Exec(t.Context(), `SELECT pg_advisory_unlock(1)`); err != nil {
			t.Error(err)
		}
	}
}

// starts runs a call and returns when so many statements wait.
func (e *estate) starts(t *testing.T, waiting int, call func() reply) <-chan reply {
	t.Helper()
	answer := make(chan reply, 1)
	go func() { answer <- call() }()
	for n := 0; n < waiting; {
		err := e.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer) > 0 {
			t.Fatalf("it waits for nobody: %+v", <-answer)
		}
	}
	return answer
}

// enders are what ends every session of a user. Each returns once it is done.
var enders = map[string]func(*estate, *testing.T, *person, reply) reply{
	"logout everywhere": func(e *estate, t *testing.T, _ *person, from reply) reply { return e.logoutEverywhere(t, from.access) },
	"change of password": func(e *estate, t *testing.T, _ *person, from reply) reply {
		return e.changePassword(t, from.access, password, "another unlikely phrase")
	},
}

// A sign-in that has looked at the account and not yet written its session is not
// seen by what ends all sessions. Its session must be dead all the same.
func TestSignInWhileAllSessionsEnd(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*estate, *testing.T, *person, reply) reply{
		"disabling": func(e *estate, t *testing.T, p *person, _ reply) reply {
			e.exec(t, `UPDATE users SET disabled_at = now() WHERE id = $1`, p.id)
			return reply{status: http.StatusOK}
		},
	}
	for name, end := range enders {
		ends[name] = end
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openLiveEstate(t, "4")
			p := e.newPerson(t, e.hash(t))
			first := e.login(t, p, password, "")
			// The new session of a change of password carries the next epoch.
			release := e.hold(t, `BEFORE INSERT ON sessions FOR EACH ROW WHEN (NEW.epoch = 0)`)
			late := e.starts(t, 1, func() reply { return e.login(t, p, password, "") })
			if got := end(e, t, p, first); got.status >= 300 {
				t.Fatalf("status %d, %s", got.status, got.raw)
			}
			release()
			got := <-late
			if got.status != http.StatusOK {
				return // found out before it answered: as good
			}
			if again := e.refresh(t, 0, got.cookie); again.code != "session_revoked" {
				t.Errorf("the late session is answered with %d, %s", again.status, again.raw)
			}
			if me := e.call(t, e.auth, http.MethodGet, "/api/auth/me", request{bearer: got.access}); me.code != "session_revoked" {
				t.Errorf("its access token is answered with %d, %s", me.status, me.raw)
			}
		})
	}
}

// A refresh that waits for what ends its session gets no token.
func TestRefreshWaitsForTheEndOfItsSession(t *testing.T) {
	t.Parallel()
	all := map[string]func(*estate, *testing.T, *person, reply) reply{
		"logout": func(e *estate, t *testing.T, _ *person, from reply) reply { return e.logout(t, from.cookie) },
	}
	for name, end := range enders {
		all[name] = end
	}
	for name, end := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openLiveEstate(t, "4")
			p := e.newPerson(t, e.hash(t))
			first := e.login(t, p, password, "")
			release := e.hold(t, `BEFORE UPDATE ON sessions FOR EACH ROW WHEN (NEW.revoked_at IS NOT NULL)`)
			ending := e.starts(t, 1, func() reply { return end(e, t, p, first) })
			late := e.starts(t, 2, func() reply { return e.refresh(t, 0, first.cookie) })
			release()
			if got := <-ending; got.status >= 300 {
				t.Errorf("status %d, %s", got.status, got.raw)
			}
			if got := <-late; got.code != "session_revoked" {
				t.Errorf("status %d, %s", got.status, got.raw)
			}
		})
	}
}

// What ends a session waits for a refresh that is at it, and ends its successor.
func TestTheEndOfASessionWaitsForARefresh(t *testing.T) {
	t.Parallel()
	for name, end := range enders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openLiveEstate(t, "4")
			p := e.newPerson(t, e.hash(t))
			first := e.login(t, p, password, "")
			// As the refresh does it, but for its patience: the other may hash for longer.
			tx, err := e.db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
			successor := first.token
			successor.Generation++
			err = tx.QueryRow(t.Context(), `UPDATE sessions SET gen = gen + 1, jti = gen_random_uuid(), superseded = ARRAY[clock_timestamp()] WHERE id = $1 RETURNING jti`,
				successor.Session).Scan(&successor.ID)
			if err != nil {
				t.Fatal(err)
			}
			ending := e.starts(t, 1, func() reply { return end(e, t, p, first) })
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := <-ending; got.status >= 300 {
				t.Errorf("status %d, %s", got.status, got.raw)
			}
			cookie, err := e.signer.Refresh(t.Context(), successor)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.refresh(t, 0, cookie); got.code != "session_revoked" {
				t.Errorf("its successor is answered with %d, %s", got.status, got.raw)
			}
			if r := e.rows(t, p.id)[first.token.Session]; !r.Ended {
				t.Error("its row does not say that it ended")
			}
		})
	}
}

// Of two who change the password from one password, one does. The other is told
// that theirs is wrong, or that their session has ended.
func TestTwoChangeThePassword(t *testing.T) {
	t.Parallel()
	e := openLiveEstate(t, "4")
	p := e.newPerson(t, e.hash(t))
	answers := make([]reply, 2)
	from := []reply{e.login(t, p, password, ""), e.login(t, p, password, "")}
	release := e.hold(t, `BEFORE UPDATE ON users FOR EACH ROW`)
	var waiting []<-chan reply
	for i, next := range []string{"another unlikely phrase", "a third unlikely phrase"} {
		waiting = append(waiting, e.starts(t, i+1, func() reply { return e.changePassword(t, from[i].access, password, next) }))
	}
	release()
	for i, answer := range waiting {
		answers[i] = <-answer
	}
	if answers[0].status == http.StatusOK {
		answers[0], answers[1] = answers[1], answers[0]
	}
	if answers[0].code != "session_revoked" && answers[0].code != "wrong_password" || answers[1].status != http.StatusOK {
		t.Errorf("they are answered with %d, %s and %d, %s", answers[0].status, answers[0].raw, answers[1].status, answers[1].raw)
	}
	alive := 0
	for _, r := range e.rows(t, p.id) {
		if !r.Ended {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d sessions live, want the one of the new password", alive)
	}
}
