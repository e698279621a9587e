// Package diagram draws the whole from the manifest, as text that GitHub shows as a
// picture (https://mermaid.js.org). What it looks like is left to whoever shows it.
package diagram

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

type function struct {
	Name      string
	Doc       string
	Needs     []string
	Tables    []struct{ Table string }
	Settings  []struct{ Secret, Required bool }
	Schedules []struct{ Name, Cron string }
	Routes    []struct{ Path, Access string }
}

// serves lists the kinds of routes, as far as a picture wants to know.
func (f function) serves(scheduler bool) (n int) {
	for _, r := range f.Routes {
		if (r.Access == "scheduler") == scheduler {
			n++
		}
	}
	return n
}

func (f function) isDoor() bool {
	return slices.ContainsFunc(f.Routes, func(r struct{ Path, Access string }) bool { return r.Path == "/{$}" })
}

func (f function) hasSecret() bool {
	return slices.ContainsFunc(f.Settings, func(s struct{ Secret, Required bool }) bool { return s.Secret && s.Required })
}

// Mermaid returns the picture.
func Mermaid(manifest []byte) ([]byte, error) {
	var m struct{ Functions []function }
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	door := slices.IndexFunc(m.Functions, function.isDoor)
	if door < 0 {
		return nil, errors.New("no function of the manifest serves the page, and so none stands in front")
	}
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("flowchart LR")
	line(`  browser(["browser"]) -->|HTTPS| f_%s`, m.Functions[door].Name)
	line(`  github(["GitHub Actions"]) -.->|"deploys each as deploy-FUNCTION"| run`)
	line(`  subgraph run["Cloud Run"]`)
	for _, f := range m.Functions {
		line(`    f_%s["%s<br/>%s"]`, f.Name, f.Name, escape(strings.TrimSuffix(f.Doc, ".")))
	}
	line(`    migrate["migrate<br/>a job: schema and grants"]`)
	line("  end")
	for i, f := range m.Functions {
		if n := f.serves(false); i != door && n > 0 {
			line(`  f_%s -->|"%d %s, ID token"| f_%s`, m.Functions[door].Name, n, plural(n, "route"), f.Name)
		}
		for _, s := range f.Schedules {
			line(`  scheduler(["Cloud Scheduler"]) -->|"%s: %s"| f_%s`, s.Name, escape(s.Cron), f.Name)
		}
	}
	for _, f := range m.Functions {
		if slices.Contains(f.Needs, "postgres") {
			line(`  f_%s -->|"%d %s"| postgres[("PostgreSQL")]`, f.Name, len(f.Tables), plural(len(f.Tables), "table"))
		}
	}
	line(`  migrate -->|owner| postgres`)
	for _, f := range m.Functions {
		if slices.Contains(f.Needs, "redis") || slices.Contains(f.Needs, "ratelimit") {
			line(`  f_%s --> redis[("Redis")]`, f.Name)
		}
	}
	for _, f := range m.Functions {
		if f.hasSecret() {
			line(`  f_%s -.-> secrets[("Secret Manager")]`, f.Name)
		}
	}
	line(`  migrate -.-> secrets`)
	return b.Bytes(), nil
}

// escape writes what Mermaid would take for its own as entities.
func escape(text string) string {
	return strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", ";", "#59;", "*", "#42;").Replace(text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
