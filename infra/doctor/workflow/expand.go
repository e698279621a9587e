package workflow

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Unknown stands for what only the running workflow knows. No name that matters
// here holds it: GitHub refuses control characters in environments.
const Unknown = "\x00"

// combinations is how many jobs GitHub makes of one matrix at most.
const combinations = 256

var (
	interpolation = regexp.MustCompile(`(?s)\$\{\{(.*?)\}\}`)
	variable      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
)

// Expand is what a text with ${{ }} comes to in this run. What only the running
// workflow knows is Unknown.
func (r Run) Expand(template string) string {
	return interpolation.ReplaceAllStringFunc(strings.ReplaceAll(template, Unknown, ""), func(found string) string {
		name := strings.TrimSpace(found[3 : len(found)-2])
		if value, ok := r.values[name]; ok && variable.MatchString(name) {
			return value
		}
		if strings.HasPrefix(name, "matrix.") && variable.MatchString(name) && !r.Job.Strategy.Matrix.Computed {
			return "" // as GitHub has it for what is nowhere
		}
		return Unknown
	})
}

// Hosting is whose machine a job runs on.
type Hosting string

// As the claim runner_environment has it. Groups and labels of one's own may be of
// GitHub's larger machines as well.
const (
	GitHubHosted Hosting = "github-hosted"
	SelfHosted   Hosting = "self-hosted"
	Unclear      Hosting = ""
)

var hostedLabel = regexp.MustCompile(`(?i)^(ubuntu|windows|macos)-(latest|slim|\d+(\.\d+)?)(-[a-z0-9-]+)?$`)

// Hosting tells where the run's job runs.
func (r Run) Hosting() Hosting {
	var labels []string
	for _, label := range r.Job.RunsOn.Labels { // a list among a matrix's values is one text
		labels = append(labels, strings.Fields(strings.Trim(r.Expand(label), "[]"))...)
	}
	switch {
	case slices.ContainsFunc(labels, func(label string) bool { return strings.EqualFold(label, string(SelfHosted)) }):
		return SelfHosted
	case r.Job.RunsOn.Group == "" && len(labels) == 1 && hostedLabel.MatchString(labels[0]):
		return GitHubHosted
	}
	return Unclear
}

// Fits tells whether a value, perhaps with unknown parts, may come to be that text.
func Fits(value, text string) bool {
	parts := strings.Split(value, Unknown)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(text)
}

// Known tells whether nothing in a value is left to the running workflow.
func Known(value string) bool { return !strings.Contains(value, Unknown) }

// Shown is a value for people.
func Shown(value string) string { return strings.ReplaceAll(value, Unknown, "${{ … }}") }

// each lists the jobs that a matrix makes, as the values of matrix.NAME: one
// without values where there is no matrix, or one that is computed.
func (m Matrix) each() []map[string]string {
	all := []map[string]string{{}}
	for _, name := range slices.Sorted(maps.Keys(m.Lists)) {
		if len(m.Lists[name]) == 0 {
			continue
		}
		var longer []map[string]string
		for _, combination := range all {
			for _, value := range m.Lists[name] {
				if len(longer) < combinations {
					one := maps.Clone(combination)
					one["matrix."+name] = value
					longer = append(longer, one)
				}
			}
		}
		all = longer
	}
	all = slices.DeleteFunc(all, func(combination map[string]string) bool {
		return slices.ContainsFunc(m.Exclude, func(excluded map[string]string) bool { return len(excluded) > 0 && agree(combination, excluded, true) })
	})
	if len(m.Lists) == 0 && len(m.Include) > 0 {
		all = nil
	}
	listed := len(all)
	for _, included := range m.Include {
		added := false
		for _, combination := range all[:listed] {
			if agree(combination, included, false) {
				added = true
				for name, value := range included {
					combination["matrix."+name] = value
				}
			}
		}
		if !added && len(all) < combinations {
			one := map[string]string{}
			for name, value := range included {
				one["matrix."+name] = value
			}
			all = append(all, one)
		}
	}
	return all
}

// agree tells whether a combination has the values of other; where whole is
// false, it may lack some of them.
func agree(combination, other map[string]string, whole bool) bool {
	for name, value := range other {
		if has, ok := combination["matrix."+name]; ok && has != value || !ok && whole {
			return false
		}
	}
	return true
}
