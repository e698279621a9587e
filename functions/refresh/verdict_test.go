package refresh_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// judge is the verdict once more, as the answer that a caller sees: a pure
// function of the row, the user, the token and the time, written from the table
// of rules and not from the statement.
func judge(r row, userEpoch int, disabled bool, presented row, now time.Time) string {
	age := r.Generation - presented.Generation
	switch {
	case r.RevokedAt != nil, disabled, r.Epoch != userEpoch:
		return "session_revoked"
	case !now.Before(r.ExpiresAt), !now.Before(r.Absolute):
		return "session_expired"
	case age < 0:
		return "session_unknown"
	case age == 0 && presented.Token == r.Token:
		return "rotated"
	case age > 0 && age <= int64(len(r.Superseded)) && now.Before(r.Superseded[age-1].Add(30*time.Second)):
		return "converged"
	}
	return "reused"
}

func TestVerdictIsAPureFunction(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	moment := rapid.SampledFrom([]time.Duration{0, microsecond, time.Second, 29 * time.Second, 30*time.Second - microsecond, 30 * time.Second, time.Minute, day})
	rapid.Check(t, func(rt *rapid.T) {
		disabled, userEpoch := rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, "disabled"), rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "user epoch")
		user := f.newUser(t)
		f.exec(t, `UPDATE users SET session_epoch = $2, disabled_at = CASE WHEN $3 THEN now() END WHERE id = $1`, user, userEpoch, disabled)
		now := noon.Add(moment.Draw(rt, "now"))
		f.at(t, now)
		before := f.session(t, func(r *row) {
			r.User = user
			r.Generation = rapid.Int64Range(0, 20).Draw(rt, "generation")
			for range min(r.Generation, 16) {
				r.Superseded = append(r.Superseded, noon.Add(-moment.Draw(rt, "superseded")))
			}
			r.ExpiresAt = noon.Add(rapid.SampledFrom([]time.Duration{7 * day, 7 * day, 7 * day, time.Minute, microsecond}).Draw(rt, "expires"))
			r.Absolute = r.ExpiresAt.Add(moment.Draw(rt, "absolute"))
			r.Epoch = rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "epoch")
			if rapid.SampledFrom([]bool{false, false, false, true}).Draw(rt, "revoked") {
				r.RevokedAt = &noon
			}
		})
		presented := before
		presented.ExpiresAt = noon.Add(7 * day)
		presented.Generation = max(0, before.Generation-rapid.Int64Range(-1, 18).Draw(rt, "age"))
		if presented.Generation != before.Generation || rapid.Bool().Draw(rt, "another jti") {
			presented.Token = uuid.New()
		}
		got := post(t, handler, f.cookie(t, presented))
		after := f.row(t, before.ID)

		want := judge(before, userEpoch, disabled, presented, now)
		var same bool
		switch want {
		case "rotated":
			expires := now.Add(7 * day)
			if before.Absolute.Before(expires) {
				expires = before.Absolute
			}
			same = got.Status == http.StatusOK && after.Generation == before.Generation+1 && after.Token != before.Token &&
				after.IssuedAt.Equal(now) && after.ExpiresAt.Equal(expires) && after.Superseded[0].Equal(now) &&
				len(after.Superseded) == min(16, len(before.Superseded)+1) && got.Cookie == f.cookie(t, after)
		case "converged":
			same = got.Status == http.StatusOK && after.Version == before.Version && got.Cookie == f.cookie(t, after)
		case "reused":
			same = got.Body.Code == "session_revoked" && after.RevokedAt != nil && after.RevokedAt.Equal(now) && after.Generation == before.Generation
		default:
			same = got.Body.Code == want && after.Version == before.Version
		}
		if !same || !after.Absolute.Equal(before.Absolute) || after.ExpiresAt.After(after.Absolute) {
			rt.Fatalf("want %s; status %d, code %q, the row\n%+v became\n%+v", want, got.Status, got.Body.Code, before, after)
		}
	})
}

// Whatever is presented and however the clock runs, no two tokens of one
// generation differ, and nobody loses the session who only ever presents what was
// current a moment ago.
func TestNoForkAndNoFalseAlarm(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	rapid.Check(t, func(rt *rapid.T) {
		now := noon
		f.at(t, now)
		r := f.session(t)
		cookies := []string{f.cookie(t, r)} // by generation
		replaced := map[int]time.Time{}
		for range rapid.IntRange(1, 25).Draw(rt, "calls") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, 0, microsecond, time.Second, 10 * time.Second}).Draw(rt, "later"))
			f.at(t, now)
			newest := len(cookies) - 1
			var allowed []int
			for generation := max(0, newest-16); generation <= newest; generation++ {
				if at, ok := replaced[generation]; !ok || now.Before(at.Add(30*time.Second)) {
					allowed = append(allowed, generation)
				}
			}
			present := rapid.SampledFrom(allowed).Draw(rt, "present")
			got := post(t, handler, cookies[present])
			if got.Status != http.StatusOK {
				rt.Fatalf("generation %d of %d: status %d", present, newest, got.Status)
			}
			if present == newest {
				cookies = append(cookies, got.Cookie)
				replaced[newest] = now
				newest++
			}
			if got.Cookie != cookies[newest] || got.Body.Generation != int64(newest) {
				rt.Fatalf("generation %d has two tokens", newest)
			}
		}
		// One who held back a copy is found out, and ends it for all.
		if len(cookies) > 1 {
			f.at(t, replaced[0].Add(30*time.Second))
			post(t, handler, cookies[0])
			if got := post(t, handler, cookies[len(cookies)-1]); got.Body.Code != "session_revoked" {
				rt.Fatalf("after a replay of generation 0: status %d", got.Status)
			}
		}
	})
}
