package workflow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// Most rows are from the table of filter patterns in GitHub's documentation.
func TestPatterns(t *testing.T) {
	t.Parallel()
	for patterns, names := range map[string]struct{ fit, others string }{
		"feature/*":                {"feature/my-branch feature/ feature/.x", "feature feature/a/b xfeature/a"},
		"feature/**":               {"feature/a feature/beta-a/my-branch", "features"},
		"main":                     {"main", "Main mainx xmain refs/heads/main"},
		"*":                        {"main releases", "all/the/branches"},
		"**":                       {"main all/the/branches", ""},
		"*feature":                 {"mona-feature feature ver-10-feature", "feature-x a/feature"},
		"v2*":                      {"v2 v2.0 v2.9", "v1 v2/x"},
		"v[12].[0-9]+.[0-9]+":      {"v1.10.1 v2.0.0", "v3.0.0 v1.10 v1.a.0"},
		"release-?1":               {"release-1 release1", "release--1 release-x1"},
		"a+b":                      {"ab aaab", "b a+b"},
		`a\+b`:                     {"a+b", "ab a\\+b"},
		"[CB]at":                   {"Cat Bat", "cat CBat"},
		"[z-a]":                    {"[z-a]", "z"},
		"[]":                       {"[]", ""},
		"+x":                       {"+x", "x"},
		"a**+b":                    {"ab axxb", "a"},
		"é*":                       {"é été", "e"},
		"":                         {"", "x"},
		"release/**,!release/**-a": {"release/10 release/a/b", "release/10-a main"},
		"!main,**":                 {"main x", ""},
		"!main":                    {"", "main x"},
	} {
		all := workflow.Patterns(strings.Split(patterns, ","))
		for _, name := range strings.Fields(names.fit) {
			if !all.Match(name) {
				t.Errorf("%s does not fit %s", patterns, name)
			}
		}
		for _, name := range strings.Fields(names.others) {
			if all.Match(name) {
				t.Errorf("%s fits %s", patterns, name)
			}
		}
	}
}

// A name without special characters is a pattern for itself alone, and so is any
// name whose special characters are escaped.
func TestAnEscapedNameFitsItselfAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name, other := rapid.StringMatching(`[a-c/*?+\[\]!\\é]{1,8}`), rapid.StringMatching(`[a-c/*?+é]{1,8}`)
		a, b := name.Draw(t, "name"), other.Draw(t, "other")
		var escaped strings.Builder
		for _, r := range a {
			if strings.ContainsRune(`*?+[]!\`, r) {
				escaped.WriteByte('\\')
			}
			escaped.WriteRune(r)
		}
		if pattern := (workflow.Patterns{escaped.String()}); !pattern.Match(a) || pattern.Match(b) != (a == b) {
			t.Errorf("%s fits %q: %v, %q: %v", pattern, a, pattern.Match(a), b, pattern.Match(b))
		}
	})
}

func TestStarts(t *testing.T) {
	t.Parallel()
	const main, feature, tag = "refs/heads/main", "refs/heads/feature", "refs/tags/v1"
	for on, want := range map[string][]string{
		"push":                                             {main, feature, tag},
		"{push: }":                                         {main, feature, tag},
		"{push: {branches: []}}":                           {main, feature, tag},
		"{push: {branches: main}}":                         {main},
		"{push: {branches-ignore: [main]}}":                {feature},
		"{push: {tags: ['v*']}}":                           {tag},
		"{push: {tags-ignore: ['v*']}}":                    {},
		"{push: {tags-ignore: [w]}}":                       {tag},
		"{push: {branches: [main], tags: [v1]}}":           {main, tag},
		"{push: {branches: [main], tags-ignore: [x]}}":     {main, tag},
		"{push: {paths: [a, '!b']}}":                       {main, feature, tag},
		"{push: {paths: ['!b']}}":                          {},
		"{push: {paths-ignore: [b]}}":                      {main, feature, tag},
		"{pull_request: {branches: [main]}}":               {main},
		"{pull_request_target: {branches-ignore: ['**']}}": {},
		"{workflow_run: {branches: [feature]}}":            {feature},
		"{workflow_dispatch: {branches: [x]}}":             {main, feature, tag},
		"{schedule: [{cron: '0 4 * * *'}]}":                {main, feature, tag},
		"{release: &a {types: [published]}, push: *a}":     {main, feature, tag},
	} {
		trigger := parse(t, "a.yml", "on: "+on+"\njobs: {}\n").On[0]
		got := slices.DeleteFunc([]string{main, feature, tag}, func(ref string) bool { return !trigger.Starts(ref) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", on, diff)
		}
	}
}

func TestRefsOfATrigger(t *testing.T) {
	t.Parallel()
	on := parse(t, "a.yml", "on: {push: {branches: ['release/**', '!release/x', '!main'], tags: 'v[1-3].*'}}\njobs: {}\n").On[0]
	want := []string{"refs/heads/release/1.0.0", "refs/heads/release/1", "refs/tags/v1.1.0.0", "refs/tags/v1.x", "refs/tags/v1.1"}
	if diff := cmp.Diff(want, on.Refs()); diff != "" {
		t.Error(diff)
	}
}

func TestTriggersForPeople(t *testing.T) {
	t.Parallel()
	on := parse(t, "a.yml", "on: {push: {branches: [main, dev], tags-ignore: v*, paths: [a]}, workflow_dispatch: }\njobs: {}\n").On
	if got, want := on.String(), "push (branches: main, dev; tags-ignore: v*; paths: a), workflow_dispatch"; got != want {
		t.Error(got)
	}
}

func TestTwice(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]string{
		"{push: {branches: [a], tags-ignore: [a]}}":     "",
		"{push: {branches: [a], branches-ignore: [a]}}": "branches",
		"{push: {tags: [a], tags-ignore: [a]}}":         "tags",
		"{push: {paths: [a], paths-ignore: [a]}}":       "paths",
	} {
		if got := parse(t, "a.yml", "on: "+on+"\njobs: {}\n").On[0].Twice(); got != want {
			t.Errorf("%s: %q", on, got)
		}
	}
}

func TestHosting(t *testing.T) {
	t.Parallel()
	for runsOn, want := range map[string]workflow.Hosting{
		"ubuntu-24.04":                      workflow.GitHubHosted,
		"[Ubuntu-latest]":                   workflow.GitHubHosted,
		"macos-14-xlarge":                   workflow.GitHubHosted,
		"windows-11-arm":                    workflow.GitHubHosted,
		"{labels: ubuntu-slim}":             workflow.GitHubHosted,
		"${{ matrix.hosted }}":              workflow.GitHubHosted,
		"self-hosted":                       workflow.SelfHosted,
		"[Self-Hosted, linux]":              workflow.SelfHosted,
		"{group: g, labels: [self-hosted]}": workflow.SelfHosted,
		"${{ matrix.own }}":                 workflow.SelfHosted,
		"{group: g, labels: ubuntu-24.04}":  workflow.Unclear,
		"{group: g}":                        workflow.Unclear,
		"[ubuntu-24.04, gpu]":               workflow.Unclear,
		"our-runners":                       workflow.Unclear,
		"ubuntu-24.04x":                     workflow.Unclear,
		"${{ vars.RUNNER }}":                workflow.Unclear,
		"''":                                workflow.Unclear,
	} {
		f := parse(t, "a.yml", "on: push\njobs:\n  a:\n    runs-on: "+runsOn+"\n    strategy: {matrix: {hosted: [ubuntu-latest], own: [[self-hosted, linux]]}}\n")
		if got := workflow.Runs([]workflow.File{f}, nil)[0].Hosting(); got != want {
			t.Errorf("%s: %q, want %q", runsOn, got, want)
		}
	}
}
