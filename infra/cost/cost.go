// Package cost says what an installation costs, from the manifest, a list of prices
// and assumptions that are written down. It prints a page; the bill is Google's.
package cost

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed prices.json
var prices []byte

// Price is of one unit of something.
type Price struct {
	Name     string  `json:"name"`
	Title    string  `json:"title"`
	USD      float64 `json:"usd"`
	Free     float64 `json:"free"` // units a month that cost nothing, for the whole billing account
	Source   string  `json:"source"`
	Read     string  `json:"read"` // when and how it was read
	Verified bool    `json:"verified"`
}

// Prices returns the list, in its order.
func Prices() ([]Price, error) {
	var list []Price
	err := json.Unmarshal(prices, &list)
	return list, err
}

// Use is how much of each thing is used in a month, by the name of its price.
type Use map[string]float64

// Plus returns both.
func (u Use) Plus(other Use) Use {
	sum := maps.Clone(u)
	for name, quantity := range other {
		sum[name] += quantity
	}
	return sum
}

// Bill is what a month of use costs, by what is used.
func (u Use) Bill(list []Price, free bool) (lines map[string]float64, total float64) {
	lines = map[string]float64{}
	for _, p := range list {
		quantity := u[p.Name]
		if free {
			quantity = max(0, quantity-p.Free)
		}
		lines[p.Name] = quantity * p.USD
		total += lines[p.Name]
	}
	return lines, total
}

// What is assumed. A month has 30 days.
const (
	month         = 30 * 24     // hours
	billed        = 0.1         // seconds of a request: Cloud Run counts in steps of 100 ms, and ours take fewer
	scheduled     = 1.0         // seconds of a scheduled call, its cold start and connection included
	answer        = 4.0 / 1e6   // GiB of an answer, compressed, with its headers: about 4 KiB
	uptimeMinutes = 15          // between two checks of one region
	uptimeRegions = 3           // each with one checker at least
	diskGiB       = 10          // the smallest
	backupGiB     = 2           // of a small database, with its log
	imagesGB      = 1.5         // of each function the last ten
	armorRules    = 5           // infra/frontdoor.tf
	openEvery     = 5           // minutes: a page on a wall, which is loaded anew
	loadRequests  = 8           // of a load whose assets are in the browser's cache
	million       = 1_000_000.0 // requests
)

// Manifest is what of infra/functions.json has a price.
type Manifest struct {
	Functions []struct {
		Name      string     `json:"name"`
		MemoryMiB float64    `json:"memory_mib"`
		Needs     []string   `json:"needs"`
		Settings  []Setting  `json:"settings"`
		Schedules []Schedule `json:"schedules"`
	} `json:"functions"`
}

// Setting is a setting of a function.
type Setting struct {
	Name     string `json:"name"`
	Required bool   `json:"required"`
	Secret   bool   `json:"secret"`
}

// Schedule is a schedule of a function.
type Schedule struct {
	Cron string `json:"cron"`
}

// memory returns the GiB of a function's instance.
func (m Manifest) memory(name string) float64 {
	for _, f := range m.Functions {
		if f.Name == name {
			return f.MemoryMiB / 1024
		}
	}
	return 0
}

// secretsOf counts the secrets that a function reads, again after a minute.
func (m Manifest) secretsOf(name string) (n float64) {
	for _, f := range m.Functions {
		for _, s := range f.Settings {
			if f.Name == name && s.Secret && s.Required {
				n++
			}
		}
	}
	return n
}

// secrets counts those that every installation with Cloud SQL has: the required
// ones, and the address that migrations use.
func (m Manifest) secrets() float64 {
	names := map[string]bool{"DATABASE_URL-migrate": true}
	for _, f := range m.Functions {
		for _, s := range f.Settings {
			if s.Secret && s.Required {
				names[s.Name] = true
			}
		}
	}
	return float64(len(names))
}

// requests is the use of n requests to a function that take so many seconds each,
// through the gateway or past it.
func (m Manifest) requests(n, seconds float64, function string, gateway bool) Use {
	u := Use{"request": n, "cpu": n * seconds, "memory": n * seconds * m.memory(function)}
	if gateway {
		u = u.Plus(Use{"request": n, "cpu": n * seconds, "memory": n * seconds * m.memory("web")})
	}
	return u
}

// visits is the use of n requests from browsers, each of which asks Redis once: at
// worst, as not every route has limits.
func (m Manifest) visits(n float64, gateway bool) Use {
	u := m.requests(n, billed, "metrics", gateway).Plus(Use{"egress": n * answer, "redis": n})
	if !gateway {
		u = u.Plus(Use{"processed": 2 * n * answer, "armor_request": n})
	}
	return u
}

// Idle is the use of a month in which nobody comes.
func (m Manifest) Idle(gateway bool) (Use, error) {
	u := Use{
		"sql_small": month, "sql_disk": diskGiB, "sql_backup": backupGiB, "images": imagesGB, "secret": m.secrets(),
	}
	for _, f := range m.Functions {
		for _, s := range f.Schedules {
			calls, err := perMonth(s.Cron)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			u = u.Plus(m.requests(calls, scheduled, f.Name, false)).Plus(Use{"schedule": 1})
		}
	}
	checks := float64(month * 60 / uptimeMinutes * uptimeRegions)
	u = u.Plus(m.requests(checks, billed, "health", gateway)).Plus(Use{"redis": checks, "secret_read": checks})
	if !gateway {
		u = u.Plus(Use{"rule": month, "armor_policy": 1, "armor_rule": armorRules, "armor_request": checks})
	}
	return u, nil
}

// Million is the use of a million requests.
func (m Manifest) Million(gateway bool) Use { return m.visits(million, gateway) }

// Open is the use of one dashboard that is open all month, and loaded anew every
// few minutes. One that is only open asks for nothing.
func (m Manifest) Open(gateway bool) Use {
	const loads = month * 60 / openEvery
	return m.visits(loads*loadRequests, gateway).Plus(Use{"secret_read": loads * (m.secretsOf("refresh") + m.secretsOf("metrics"))})
}

// Own is the use with a PostgreSQL of one's own in place of Cloud SQL: its address
// is a secret of each function, and read at each of so many calls of a sleeping one.
func (m Manifest) Own(u Use, calls float64) Use {
	addresses := 0.0
	for _, f := range m.Functions {
		if slices.Contains(f.Needs, "postgres") {
			addresses++
		}
	}
	return u.Plus(Use{"sql_small": -u["sql_small"], "sql_disk": -u["sql_disk"], "sql_backup": -u["sql_backup"], "secret": addresses, "secret_read": calls})
}

// perMonth counts the calls of a schedule whose hours and days are all: minutes are
// "*/N", or listed.
func perMonth(cron string) (float64, error) {
	minutes, rest, _ := strings.Cut(cron, " ")
	if rest != "* * * *" {
		return 0, fmt.Errorf("the schedule %q is not of every hour: teach infra/cost to count it", cron)
	}
	if step, found := strings.CutPrefix(minutes, "*/"); found {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 || n > 59 {
			return 0, fmt.Errorf("the schedule %q has no step from 1 to 59", cron)
		}
		return float64(month * ((59 / n) + 1)), nil
	}
	if minutes == "*" {
		return month * 60, nil
	}
	listed := strings.Split(minutes, ",")
	if slices.ContainsFunc(listed, func(minute string) bool { n, err := strconv.Atoi(minute); return err != nil || n < 0 || n > 59 }) {
		return 0, fmt.Errorf("the schedule %q has minutes that are none", cron)
	}
	return float64(month * len(listed)), nil
}
