package cost

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Page returns the page about costs for a manifest.
func Page(manifest []byte) ([]byte, error) {
	var m Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	list, err := Prices()
	if err != nil {
		return nil, fmt.Errorf("read the prices: %w", err)
	}
	idle := map[bool]Use{}
	for _, gateway := range doors {
		if idle[gateway], err = m.Idle(gateway); err != nil {
			return nil, err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<!-- Printed from infra/cost by: go test ./functions -run Current -update. Do not edit. -->
# What it costs

In US dollars a month of 30 days, without tax. A line marked * has a price that could
not be verified; [prices.json](cost/prices.json) says where each was read. Check them in
the [calculator](https://cloud.google.com/products/calculator) before you rely on them.

| | gateway | load balancer |
|---|---:|---:|
`)
	row := func(title string, cost func(gateway bool) float64) {
		fmt.Fprintf(&b, "| %s | %.2f | %.2f |\n", title, cost(true), cost(false))
	}
	total := func(u Use, free bool) float64 { _, sum := u.Bill(list, free); return sum }
	row("idle, with Cloud SQL (db-g1-small)", func(g bool) float64 { return total(idle[g], true) })
	row("idle, with Cloud SQL (db-f1-micro, for a trial: 25 connections)", func(g bool) float64 { return total(micro(idle[g]), true) })
	row("idle, with a PostgreSQL of yours, its price apart", func(g bool) float64 { return total(m.Own(idle[g], idle[false]["request"]), true) })
	row("one dashboard open all month, besides", func(g bool) float64 { return total(idle[g].Plus(m.Open(g)), true) - total(idle[g], true) })
	row("a million requests, when what is free is used up", func(g bool) float64 { return total(m.Million(g), false) })

	fmt.Fprintf(&b, `
What is free is free once for each billing account. An installation that shares its
account with others pays up to %.2f more when idle.

A page that is open asks for nothing by itself, and so costs nothing. The line above is of
one on a wall that is loaded anew every %d minutes: %d loads of %d requests.
`, total(idle[true], false)-total(idle[true], true), openEvery, month*60/openEvery, loadRequests)
	detail(&b, list, "Idle", "A month in which nobody comes. Schedules call rollup, and an uptime check asks for the health.", idle, true)
	detail(&b, list, "One dashboard open all month", "What it uses. On an installation that is idle otherwise most of it is free.", uses(m.Open), false)
	detail(&b, list, "A million requests", fmt.Sprintf(`Each is billed %g s of one vCPU, as if no two ever shared an instance: at worst. The
gateway is billed for as long as what it calls.`, billed), uses(m.Million), false)
	b.WriteString("\n## Prices\n\n| | for one, USD | free a month | read |\n|---|---:|---:|---|\n")
	for _, p := range list {
		fmt.Fprintf(&b, "| %s%s | %s | %s | %s |\n", p.Title, mark(p), number(p.USD), number(p.Free), p.Read)
	}
	return []byte(b.String()), nil
}

var doors = []bool{true, false} // gateway, load balancer

func uses(of func(gateway bool) Use) map[bool]Use {
	return map[bool]Use{true: of(true), false: of(false)}
}

// micro is the use with the smallest instance.
func micro(u Use) Use { return u.Plus(Use{"sql_small": -u["sql_small"], "sql_micro": u["sql_small"]}) }

// detail prints the arithmetic, a line for each thing that is used.
func detail(b *strings.Builder, list []Price, title, say string, use map[bool]Use, free bool) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| | gateway | USD | load balancer | USD |\n|---|---:|---:|---:|---:|\n", title, say)
	lines := map[bool]map[string]float64{}
	sums := map[bool]float64{}
	for _, gateway := range doors {
		lines[gateway], sums[gateway] = use[gateway].Bill(list, free)
	}
	for _, p := range list {
		if use[true][p.Name] == 0 && use[false][p.Name] == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s%s | %s | %.2f | %s | %.2f |\n", p.Title, mark(p), number(use[true][p.Name]), lines[true][p.Name], number(use[false][p.Name]), lines[false][p.Name])
	}
	fmt.Fprintf(b, "| **together** | | **%.2f** | | **%.2f** |\n", sums[true], sums[false])
}

func mark(p Price) string {
	if p.Verified {
		return ""
	}
	return " *"
}

// number prints a quantity or a small price without noughts behind it.
func number(n float64) string {
	if n >= 1000 {
		return fmt.Sprintf("%.0f", n)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.8f", n), "0"), ".")
}
