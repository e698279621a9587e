// Package workflow reads GitHub's workflow files as far as a token depends on
// them: what starts a job, what it may ask for, and its step that signs in to
// Google. Judging them is left to package diagnosis.
package workflow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// Most is more than any workflow file is long: GitHub takes half of it.
	Most = 1 << 20
	// files is more than any folder holds.
	files = 500
)

// File is a workflow file.
type File struct {
	Name        string          `yaml:"-"` // such as deploy.yml
	On          Triggers        `yaml:"on"`
	Permissions *Permissions    `yaml:"permissions"`
	Jobs        map[string]*Job `yaml:"jobs"`
}

// Job is a job with steps, or one that calls another workflow.
type Job struct {
	Permissions *Permissions   `yaml:"permissions"`
	Environment Environment    `yaml:"environment"`
	RunsOn      Runner         `yaml:"runs-on"`
	Uses        string         `yaml:"uses"`
	With        map[string]any `yaml:"with"`
	Strategy    Strategy       `yaml:"strategy"`
	Steps       []Step         `yaml:"steps"`
	If          string         `yaml:"if"`
}

// Runner is what a job asks of the machine that it runs on.
type Runner struct {
	Group  string   `yaml:"group"`
	Labels []string `yaml:"labels"`
}

// UnmarshalYAML reads labels alone and those of a group.
func (r *Runner) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return (*Patterns)(&r.Labels).UnmarshalYAML(node)
	}
	var whole struct {
		Group  string   `yaml:"group"`
		Labels Patterns `yaml:"labels"`
	}
	err := node.Decode(&whole)
	r.Group, r.Labels = whole.Group, whole.Labels
	return err
}

// Strategy is what makes several jobs of one.
type Strategy struct {
	Matrix Matrix `yaml:"matrix"`
}

// Step is a step of a job.
type Step struct {
	Line int            `yaml:"-"`
	Uses string         `yaml:"uses"`
	With map[string]any `yaml:"with"`
}

// UnmarshalYAML keeps the line.
func (s *Step) UnmarshalYAML(node *yaml.Node) error {
	type plain Step
	err := node.Decode((*plain)(s))
	s.Line = node.Line
	return err
}

// Is tells whether the step uses that action, whatever its version.
func (s Step) Is(action string) bool {
	name, _, _ := strings.Cut(s.Uses, "@")
	return strings.EqualFold(name, action)
}

// Input is what the step passes to its action under that name.
func (s Step) Input(name string) string { return text(s.With[name]) }

func text(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// Permissions is what GITHUB_TOKEN and its like may, by scope.
type Permissions map[string]string

// UnmarshalYAML reads the words for everything at once too.
func (p *Permissions) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*p = Permissions{}
		if node.Value == "write-all" {
			(*p)["id-token"] = "write"
		}
		return nil
	}
	return node.Decode((*map[string]string)(p))
}

// Environment is the deployment environment that a job names.
type Environment string

// UnmarshalYAML reads a name alone and one with a URL.
func (e *Environment) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode((*string)(e))
	}
	var whole struct {
		Name string `yaml:"name"`
	}
	err := node.Decode(&whole)
	*e = Environment(whole.Name)
	return err
}

// Matrix holds the values that are written out.
type Matrix struct {
	Computed         bool // by the running workflow, in whole or in part
	Lists            map[string][]string
	Include, Exclude []map[string]string
}

// UnmarshalYAML tells lists of values from lists of combinations.
func (m *Matrix) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		m.Computed = true
		return nil
	}
	var whole map[string]any
	if err := node.Decode(&whole); err != nil {
		return err
	}
	*m = Matrix{Lists: map[string][]string{}}
	for name, values := range whole {
		list, written := values.([]any)
		m.Computed = m.Computed || !written
		for _, value := range list {
			switch name {
			case "include":
				m.Include = append(m.Include, combination(value))
			case "exclude":
				m.Exclude = append(m.Exclude, combination(value))
			default:
				m.Lists[name] = append(m.Lists[name], text(value))
			}
		}
	}
	return nil
}

func combination(value any) map[string]string {
	plain := map[string]string{}
	whole, _ := value.(map[string]any)
	for name, value := range whole {
		plain[name] = text(value)
	}
	return plain
}

// Parse reads one file. Anchors that would expand without end are refused.
func Parse(name string, content []byte) (File, error) {
	if len(content) > Most {
		return File{}, fmt.Errorf("%s: longer than %d MiB, which GitHub refuses", name, Most>>20)
	}
	f := File{Name: name}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	for id, job := range f.Jobs {
		if job == nil {
			return File{}, fmt.Errorf("%s: job %q is empty", name, id)
		}
	}
	return f, nil
}

// Read reads the workflow files of a folder, in the order of their names.
func Read(folder fs.FS) ([]File, error) {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, err
	}
	var all []File
	for _, entry := range entries {
		if suffix := path.Ext(entry.Name()); entry.IsDir() || suffix != ".yml" && suffix != ".yaml" {
			continue
		}
		if len(all) == files {
			return nil, fmt.Errorf("more than %d workflow files", files)
		}
		f, err := readFile(folder, entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func readFile(folder fs.FS, name string) (File, error) {
	opened, err := folder.Open(name)
	if err != nil {
		return File{}, err
	}
	defer opened.Close() //nolint:errcheck // nothing was written
	content, err := io.ReadAll(io.LimitReader(opened, Most+1))
	if err != nil {
		return File{}, err
	}
	return Parse(name, content)
}

// Run is a job as it comes to run: one of those that its matrix makes, started by
// a file's trigger, perhaps through calls of other workflows.
type Run struct {
	Root File   // the file that an event starts
	File File   // the file that the job stands in
	ID   string // the job
	Job  *Job
	// Asking are the grants that must all allow a token, from the caller to the job.
	Asking []Grant

	values map[string]string // of matrix, inputs and variables
}

// Field names a place in the run's job.
func (r Run) Field(place string) string { return r.File.Name + ": jobs." + r.ID + "." + place }

// Sources names the place of a text, and the places that its matrix values and
// inputs come from.
func (r Run) Sources(place, template string) []string {
	fields := []string{r.Field(place)}
	for _, found := range interpolation.FindAllStringSubmatch(template, -1) {
		name := strings.TrimSpace(found[1])
		if rest, ok := strings.CutPrefix(name, "matrix."); ok {
			fields = append(fields, r.Field("strategy.matrix."+rest))
		}
		if rest, ok := strings.CutPrefix(name, "inputs."); ok && len(r.Asking) > 1 {
			caller := r.Asking[len(r.Asking)-2]
			fields = append(fields, caller.File+": jobs."+caller.Job+".with."+rest)
		}
	}
	return fields
}

// Grant is what a job may ask GitHub for, and where that is written.
type Grant struct {
	File, Job string
	Granted   bool
	Fields    []string // where permissions should stand, and where others do
}

const (
	calls = 10   // how deep GitHub lets workflows call each other
	most  = 4096 // more runs than anybody reads of
)

// Runs lists the jobs that run, with variables such as vars.NAME. Workflows that
// are only called, and that none of these files calls, are taken as if something
// started them.
func Runs(all []File, variables map[string]string) []Run {
	var runs []Run
	called := map[string]bool{}
	var follow func(outer Run, f File, depth int)
	follow = func(outer Run, f File, depth int) {
		for _, id := range slices.Sorted(maps.Keys(f.Jobs)) {
			job := f.Jobs[id]
			name, local := strings.CutPrefix(job.Uses, "./.github/workflows/")
			i := slices.IndexFunc(all, func(f File) bool { return f.Name == name })
			for _, values := range job.Strategy.Matrix.each() {
				maps.Copy(values, outer.values)
				run := Run{Root: outer.Root, File: f, ID: id, Job: job, Asking: append(slices.Clip(outer.Asking), grant(f, id, len(outer.Asking) > 0)), values: values}
				if len(runs) == most {
					return
				}
				if !local || i < 0 || depth == calls {
					runs = append(runs, run)
					continue
				}
				called[name] = true
				passed := maps.Clone(variables)
				for name, value := range job.With {
					if value := run.Expand(text(value)); Known(value) {
						passed["inputs."+name] = value
					}
				}
				follow(Run{Root: run.Root, Asking: run.Asking, values: passed}, all[i], depth+1)
			}
		}
	}
	if variables == nil {
		variables = map[string]string{}
	}
	for _, f := range all {
		if !f.On.CalledOnly() {
			follow(Run{Root: f, values: variables}, f, 0)
		}
	}
	for _, f := range all {
		if f.On.CalledOnly() && !called[f.Name] {
			follow(Run{Root: f, values: variables}, f, 0)
		}
	}
	return runs
}

// grant is what a job may ask for. One that is called and says nothing has what its
// caller has.
func grant(f File, id string, called bool) Grant {
	g := Grant{File: f.Name, Job: id, Fields: []string{f.Name + ": jobs." + id + ".permissions"}}
	permissions := f.Jobs[id].Permissions
	if permissions == nil && f.Permissions != nil {
		permissions, g.Fields = f.Permissions, append(g.Fields, f.Name+": permissions")
	}
	if permissions == nil {
		g.Granted = called
	} else {
		g.Granted = (*permissions)["id-token"] == "write"
	}
	return g
}
