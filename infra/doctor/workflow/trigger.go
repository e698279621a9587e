package workflow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Triggers are the events that start a workflow.
type Triggers []Trigger

// Trigger is an event, and the branches, tags and paths that it is narrowed to.
type Trigger struct {
	Event          string   `yaml:"-"`
	Branches       Patterns `yaml:"branches"`
	BranchesIgnore Patterns `yaml:"branches-ignore"`
	Tags           Patterns `yaml:"tags"`
	TagsIgnore     Patterns `yaml:"tags-ignore"`
	Paths          Patterns `yaml:"paths"`
	PathsIgnore    Patterns `yaml:"paths-ignore"`
}

// UnmarshalYAML reads the three ways to write them.
func (t *Triggers) UnmarshalYAML(node *yaml.Node) error {
	switch node.Kind {
	case yaml.ScalarNode:
		*t = Triggers{{Event: node.Value}}
		return nil
	case yaml.SequenceNode:
		var events []string
		err := node.Decode(&events)
		for _, event := range events {
			*t = append(*t, Trigger{Event: event})
		}
		return err
	case yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			var one Trigger
			value := node.Content[i+1]
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if value.Kind == yaml.MappingNode {
				if err := value.Decode(&one); err != nil {
					return err
				}
			}
			one.Event = node.Content[i].Value
			*t = append(*t, one)
		}
		return nil
	}
	return fmt.Errorf("line %d: \"on\" is neither an event nor several", node.Line)
}

// Events are the names of the events.
func (t Triggers) Events() []string {
	var names []string
	for _, one := range t {
		names = append(names, one.Event)
	}
	return names
}

func (t Triggers) String() string {
	var all []string
	for _, one := range t {
		all = append(all, one.String())
	}
	return strings.Join(all, ", ")
}

// CalledOnly tells whether no event starts the workflow, and other workflows do.
func (t Triggers) CalledOnly() bool { return slices.Equal(t.Events(), []string{"workflow_call"}) }

// Twice is a filter that stands beside its opposite, which GitHub refuses; empty
// where none does.
func (t Trigger) Twice() string {
	for _, pair := range []struct {
		name       string
		one, other Patterns
	}{{"branches", t.Branches, t.BranchesIgnore}, {"tags", t.Tags, t.TagsIgnore}, {"paths", t.Paths, t.PathsIgnore}} {
		if len(pair.one) > 0 && len(pair.other) > 0 {
			return pair.name
		}
	}
	return ""
}

// String is the trigger for people, such as push (branches: main).
func (t Trigger) String() string {
	var filters []string
	for _, filter := range []struct {
		name     string
		patterns Patterns
	}{
		{"branches", t.Branches}, {"branches-ignore", t.BranchesIgnore}, {"tags", t.Tags}, {"tags-ignore", t.TagsIgnore},
		{"paths", t.Paths}, {"paths-ignore", t.PathsIgnore},
	} {
		if len(filter.patterns) > 0 {
			filters = append(filters, filter.name+": "+strings.Join(filter.patterns, ", "))
		}
	}
	if len(filters) == 0 {
		return t.Event
	}
	return t.Event + " (" + strings.Join(filters, "; ") + ")"
}

// Pull tells whether the event is of a pull request, whose branch is the one that it
// is to be merged into.
func (t Trigger) Pull() bool { return strings.HasPrefix(t.Event, "pull_request") }

// Starts tells whether the event starts the workflow for that ref, if it touches the
// paths that are wanted.
func (t Trigger) Starts(ref string) bool {
	if len(t.Paths) > 0 && !slices.ContainsFunc(t.Paths, positive) {
		return false
	}
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(ref, "refs/tags/")
	branches := len(t.Branches)+len(t.BranchesIgnore) > 0
	tags := t.Event == "push" && len(t.Tags)+len(t.TagsIgnore) > 0
	switch {
	case t.Event != "push" && t.Event != "workflow_run" && t.Event != "merge_group" && !t.Pull():
		return true // has no such filter
	case isBranch && branches:
		return chosen(branch, t.Branches, t.BranchesIgnore)
	case isTag && tags:
		return chosen(tag, t.Tags, t.TagsIgnore)
	}
	return isBranch && !tags || isTag && !branches // a filter of the one keeps the other out
}

func chosen(name string, taken, ignored Patterns) bool {
	if len(taken) > 0 {
		return taken.Match(name)
	}
	return !ignored.Match(name)
}

// Refs are some refs that the trigger's filters name, as far as it starts for them.
func (t Trigger) Refs() []string {
	var refs []string
	for _, from := range []struct {
		folder   string
		patterns Patterns
	}{{"refs/heads/", t.Branches}, {"refs/tags/", t.Tags}} {
		for _, pattern := range from.patterns {
			for _, name := range examples(pattern) {
				if ref := from.folder + name; positive(pattern) && t.Starts(ref) {
					refs = append(refs, ref)
				}
			}
		}
	}
	return refs
}

// Patterns are GitHub's for names of branches and tags.
type Patterns []string

// UnmarshalYAML reads one alone too.
func (p *Patterns) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.Tag != "!!null" {
		*p = Patterns{node.Value}
		return nil
	}
	return node.Decode((*[]string)(p))
}

func positive(pattern string) bool { return !strings.HasPrefix(pattern, "!") }

// Match tells whether the last pattern that fits is not one that begins with "!".
func (p Patterns) Match(name string) bool {
	matches := false
	for _, pattern := range p {
		if compile(strings.TrimPrefix(pattern, "!")).MatchString(name) {
			matches = positive(pattern)
		}
	}
	return matches
}

// atoms takes a pattern apart: as regular expressions, and as a text that fits each.
// A + or ? is about what stands before it.
func atoms(pattern, star string) (expressions, texts []string) {
	add := func(expression, text string) {
		expressions, texts = append(expressions, expression), append(texts, text)
	}
	for len(pattern) > 0 {
		class := classes.FindString(pattern)
		head := first(pattern)
		switch {
		case strings.HasPrefix(pattern, "**"):
			add("(?s:.*)", star)
			pattern = pattern[2:]
			continue
		case class != "":
			add(class, class[1:2])
			pattern = pattern[len(class):]
			continue
		case head == "*":
			add("[^/]*", star)
		case (head == "+" || head == "?") && len(expressions) > 0:
			last := len(expressions) - 1
			expressions[last] = "(?:" + expressions[last] + ")" + head
		case head == `\` && len(pattern) > 1:
			pattern = pattern[1:]
			head = first(pattern)
			add(regexp.QuoteMeta(head), head)
		default:
			add(regexp.QuoteMeta(head), head)
		}
		pattern = pattern[len(head):]
	}
	return expressions, texts
}

func first(text string) string {
	_, size := utf8.DecodeRuneInString(text)
	return text[:size]
}

var classes = regexp.MustCompile(`^\[(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|[a-zA-Z0-9])+\]`)

func compile(pattern string) *regexp.Regexp {
	expressions, _ := atoms(pattern, "")
	if whole, err := regexp.Compile("^" + strings.Join(expressions, "") + "$"); err == nil {
		return whole
	}
	return regexp.MustCompile("^" + regexp.QuoteMeta(pattern) + "$") // such as [z-a]
}

// examples are names that fit a pattern: versions too, as that is what tags mostly are.
func examples(pattern string) []string {
	var names []string
	for _, star := range []string{"1.0.0", "x", "1"} {
		_, texts := atoms(pattern, star)
		if name := strings.Join(texts, ""); !slices.Contains(names, name) && compile(pattern).MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}
