package auth_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// superiority estimates how likely a value of a is greater than one of b, with
// ties for one half: 0.5 when nothing tells them apart (Mann and Whitney's U over
// the number of pairs).
func superiority(a, b []time.Duration) float64 {
	greater := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				greater++
			case x == y:
				greater += 0.5
			}
		}
	}
	return greater / float64(len(a)*len(b))
}

// Nobody learns from how long a refusal takes whether there is an account. The
// attempts are made in turns, in random order, so that whatever else the machine
// does slows all of them alike; what is judged is whether their ranks differ more
// than chance would have it once in a hundred thousand times (4.4 standard
// deviations of U), and not how long they took.
func TestTimeTellsNothingOfAccounts(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.hourly()
	handler := f.handler(t)
	registered(t, handler, ada())
	registered(t, handler, ada("email", "disabled@example.com"))
	f.exec(t, `UPDATE users SET disabled_at = now() WHERE email_key = 'disabled@example.com'`)
	const attempts = 40
	who := []string{email, "disabled@example.com", "nobody@example.com"}
	took := map[string][]time.Duration{}
	for n := range attempts + 1 {
		for _, i := range rand.Perm(len(who)) {
			began := time.Now()
			got := login(t, handler, who[i], fmt.Sprint("a guess ", n))
			if got.Body.Code != "wrong_credentials" {
				t.Fatalf("%s: %d %s", who[i], got.Status, got.Raw)
			}
			if n > 0 { // the first ones open connections and prepare statements
				took[who[i]] = append(took[who[i]], time.Since(began))
			}
		}
	}
	chance := math.Sqrt((2*attempts + 1) / (12.0 * attempts * attempts))
	for _, other := range who[1:] {
		if p := superiority(took[email], took[other]); math.Abs(p-0.5) > 4.4*chance {
			t.Errorf("a refusal for a wrong password takes longer than one for %s with probability %.2f", other, p)
		} else {
			t.Logf("against %s: %.2f", other, p)
		}
	}
}
