package cost_test

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/cost"
)

func prices(t testing.TB) []cost.Price {
	t.Helper()
	list, err := cost.Prices()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEveryPriceSaysWhereItWasRead(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range prices(t) {
		address, _, _ := strings.Cut(p.Source, " ")
		if u, err := url.Parse(address); err != nil || u.Scheme != "https" {
			t.Errorf("%s was read at %q", p.Name, p.Source)
		}
		if p.USD <= 0 || p.Free < 0 || p.Title == "" || p.Read == "" || seen[p.Name] {
			t.Errorf("%+v", p)
		}
		// What is from memory is said to be.
		if p.Verified != regexp.MustCompile(`^20\d\d-\d\d-\d\d, (a stored copy|as transcribed)`).MatchString(p.Read) {
			t.Errorf("%s is verified: %t, and was read %s", p.Name, p.Verified, p.Read)
		}
		seen[p.Name] = true
	}
}

func TestBillsAddUp(t *testing.T) {
	t.Parallel()
	list := prices(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func() cost.Use {
			u := cost.Use{}
			for _, p := range list {
				u[p.Name] = rapid.Float64Range(0, 1e7).Draw(t, p.Name)
			}
			return u
		}
		a, b := draw(), draw()
		lines, total := a.Bill(list, true)
		sum := 0.0
		for name, line := range lines {
			if line < 0 {
				t.Fatalf("%s costs %g", name, line)
			}
			sum += line
		}
		if math.Abs(sum-total) > 1e-6 {
			t.Fatalf("the lines are %g together, the total is %g", sum, total)
		}
		_, full := a.Bill(list, false)
		_, more := a.Plus(b).Bill(list, true)
		_, other := b.Bill(list, false)
		_, both := a.Plus(b).Bill(list, false)
		if total > full+1e-9 || more+1e-9 < total || math.Abs(both-full-other) > 1e-6*both {
			t.Fatalf("free %g, full %g, with more %g, both %g", total, full, more, both)
		}
	})
}

// manifest has one function of each kind, in round numbers.
const manifest = `{"functions":[
	{"name":"web","memory_mib":512,"settings":[],"schedules":[]},
	{"name":"metrics","memory_mib":1024,"needs":["postgres"],"settings":[{"name":"REDIS_URL","required":true,"secret":true},{"name":"DATABASE_URL","secret":true},{"name":"ORIGIN","required":true}],"schedules":[]},
	{"name":"health","memory_mib":256,"settings":[{"name":"REDIS_URL","required":true,"secret":true}],"schedules":[]},
	{"name":"rollup","memory_mib":256,"settings":[],"schedules":[{"cron":"CRON"}]}]}`

// TestThePageIsWhatOneReckonsByHand holds figures that were worked out on paper.
func TestThePageIsWhatOneReckonsByHand(t *testing.T) {
	t.Parallel()
	text, err := cost.Page([]byte(strings.ReplaceAll(manifest, "CRON", "*/2 * * * *")))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		// A million requests: two million calls through the gateway at 0.4 a million,
		// each 0.1 s of a vCPU at 24 a million; memory of 1.5 GiB and of 1 GiB.
		"| Cloud Run, a request * | 2000000 | 0.80 | 1000000 | 0.40 |",
		"| Cloud Run, a vCPU for a second, during requests | 200000 | 4.80 | 100000 | 2.40 |",
		"| Cloud Run, a GiB for a second, during requests * | 150000 | 0.38 | 100000 | 0.25 |",
		// 720 hours, 30 calls an hour of a second, 2,880 checks an hour and region of 0.1 s.
		"| Cloud Run, a vCPU for a second, during requests | 23328 | 0.00 | 22464 | 0.00 |",
		"| Cloud SQL, db-g1-small, an hour * | 720 | 25.20 | 720 | 25.20 |",
		"| load balancer, up to five forwarding rules, an hour | 0 | 0.00 | 720 | 18.00 |",
		"| Secret Manager, a version for a month * | 2 | 0.00 | 2 | 0.00 |",
		"8640 loads of 8 requests",
		// Each load has metrics read its one secret.
		"| Secret Manager, a read * | 8640 | 0.03 | 8640 | 0.03 |",
		// 25.20 + 1.70 + 0.16, and images of 1 GB; with 7.56 for the smallest; with none.
		"| idle, with Cloud SQL (db-g1-small) | 27.16 | 55.17 |",
		"| idle, with Cloud SQL (db-f1-micro, for a trial: 25 connections) | 9.52 | 37.53 |",
		"| idle, with a PostgreSQL of yours, its price apart | 0.19 | 28.19 |",
		"| Cloud Run, a request * | 138240 |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	for cron, want := range map[string]string{
		"* * * * *": "43200", "*/2 * * * *": "21600", "*/7 * * * *": "6480", "17 * * * *": "720", "0,30 * * * *": "1440",
		"0 3 * * *": "not of every hour", "": "not of every hour", "*/0 * * * *": "no step", "*/x * * * *": "no step", "60 * * * *": "minutes that are none", "a * * * *": "minutes that are none",
	} {
		text, err := cost.Page([]byte(strings.ReplaceAll(manifest, "CRON", cron)))
		if regexp.MustCompile(`^\d+$`).MatchString(want) {
			// Besides the checks of the health, through the gateway.
			var calls int
			fmt.Sscan(want, &calls)
			if line := fmt.Sprintf("| Cloud Run, a request * | %d | 0.00 |", calls+2*8640); err != nil || !strings.Contains(string(text), line) {
				t.Errorf("%s: %v, no line %s", cron, err, line)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", cron, err, want)
		}
	}
	if _, err := cost.Page([]byte("{")); err == nil || !strings.Contains(err.Error(), "read the manifest") {
		t.Errorf("no manifest: %v", err)
	}
}

// TestTerraformIsAsAssumed reads what infra decides and the page takes for granted.
func TestTerraformIsAsAssumed(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]string{
		"observability.tf": {`period           = "900s"`, `selected_regions = ["EUROPE", "USA_OREGON", "ASIA_PACIFIC"]`},
		"variables.tf":     {`optional(string, "db-g1-small")`, "optional(number, 10)"},
		"frontdoor.tf":     {"sqli = 1000, xss = 1001, rce = 1002"},
	} {
		text, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(string(text), part) {
				t.Errorf("infra/%s has no %s: change what infra/cost assumes", file, part)
			}
		}
	}
}
