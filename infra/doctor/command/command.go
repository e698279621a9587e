// Package command is the doctor's command line: what to read, and how to say what
// was found. Finding it is left to package diagnosis, and explaining an error to
// package refusal.
package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/refusal"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// Exit codes.
const (
	admitted = 0
	refused  = 1
	unsure   = 2 // also where the question was not understood
)

const usage = `Tells why Google refuses, or would refuse, the token of a GitHub workflow. Asks nobody.

  doctor -config wif.json                        would each function's pipeline get in?
  doctor -config wif.json -scenario tag          would this?
  doctor -config wif.json -token -               why is this token refused? (on standard input)
  doctor explain 'PASTE'                         what does this error mean? (or on standard input)

Make wif.json by: terraform -chdir=infra output -json wif >wif.json
Exits with 0 if admitted, 1 if refused, 2 if that is not sure or not safe.

`

// options are what the command line says.
type options struct {
	config, workflows, root, token, claims, jwks string
	scenario, function                           string
	origin                                       token.Origin
	variables                                    map[string]string
	now                                          time.Time
	form                                         diagnosis.Form
	json                                         bool
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{variables: map[string]string{}, now: time.Now()}
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is told once, and not above all the flags
	help := func() {
		flags.SetOutput(out)
		fmt.Fprint(out, usage)
		flags.PrintDefaults()
		fmt.Fprintln(out, "\nScenarios, each also with -FUNCTION at its end:")
		for _, s := range token.Scenarios {
			fmt.Fprintf(out, "  %-20s %s\n", s.Name, s.Doc)
		}
	}
	flags.StringVar(&o.config, "config", "wif.json", "Terraform's output wif as JSON, in `FILE`; - for standard input")
	flags.StringVar(&o.workflows, "workflows", "", "the `FOLDER` of workflow files, or one of them (default .github/workflows, if that is there)")
	flags.StringVar(&o.root, "root", "", "the repository's `FOLDER`, for its ignore files (default: two above the workflows)")
	flags.StringVar(&o.token, "token", "", "the token, or its claims as JSON, in `FILE`; - for standard input")
	flags.StringVar(&o.claims, "claims", "", "the same as -token, for a `FILE` of claims")
	flags.StringVar(&o.scenario, "scenario", "", "in place of a token: what happens, by `NAME` (default: push-main, or what else starts the workflow and is admitted)")
	flags.StringVar(&o.function, "function", "", "whose deployment it is about, by `NAME` (default: what the token says, or each)")
	flags.StringVar(&o.jwks, "jwks", "", "the issuer's keys in `FILE`, to check the token's signature")
	flags.StringVar(&o.origin.OwnerID, "owner-id", "", "a scenario's owner, by `NUMBER` (default: what the condition wants)")
	flags.StringVar(&o.origin.RepositoryID, "repository-id", "", "a scenario's repository, by `NUMBER` (default: what the condition wants)")
	flags.Func("repository", "a scenario's repository, as `OWNER/NAME` (default: what the condition wants)", func(text string) error {
		owner, name, ok := strings.Cut(text, "/")
		if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
			return errors.New("want OWNER/NAME")
		}
		o.origin.Owner, o.origin.Repository = owner, name
		return nil
	})
	flags.Func("var", "what the workflow reads, as `vars.NAME=VALUE`; repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("want NAME=VALUE")
		}
		o.variables[name] = value
		return nil
	})
	flags.Func("sub", "a scenario's sub has `names` alone, as of repositories from before 15 July 2026, or ids as well (default: try both)", func(text string) error {
		o.form = diagnosis.Form(text)
		if o.form != diagnosis.Names && o.form != diagnosis.IDs {
			return errors.New("want names or ids")
		}
		return nil
	})
	flags.Func("now", "look at a token as of this `TIME`, such as 2026-11-24T12:00:00Z", func(text string) (err error) {
		if o.now, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New("want a time such as 2026-11-24T12:00:00Z")
		}
		return nil
	})
	flags.BoolVar(&o.json, "json", false, "answer in JSON")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		help()
		return o, err
	} else if err != nil {
		return o, fmt.Errorf("%w; -h lists the flags", err)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q; -h lists the flags, and \"explain\" comes first", flags.Arg(0))
	}
	if o.claims != "" && o.token == "" {
		o.token = o.claims
	} else if o.claims != "" {
		return o, errors.New("give -token or -claims, not both")
	}
	if o.token != "" && o.scenario != "" {
		return o, errors.New("give a token or a scenario, not both")
	}
	if o.token == "-" && o.config == "-" {
		return o, errors.New("standard input cannot be both the token and Terraform's output: put one into a file")
	}
	return o, nil
}

// Run is the command. It returns the exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var answer bytes.Buffer
	code, err := run(args, stdin, &answer, plain{stderr})
	if _, failed := (plain{stdout}).Write(answer.Bytes()); err == nil {
		err = failed
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return admitted
	case err != nil:
		fmt.Fprintln(plain{stderr}, "doctor:", err)
		return unsure
	}
	return code
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	if len(args) > 0 && args[0] == "explain" {
		return explain(args[1:], stdin, stdout)
	}
	o, err := parse(args, stderr)
	if err != nil {
		return unsure, err
	}
	setup, err := o.read(stdin)
	if err != nil {
		return unsure, err
	}
	report := diagnosis.Examine(setup)
	if o.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(report); err != nil {
			return unsure, err
		}
	} else {
		show(stdout, report)
	}
	return map[diagnosis.Verdict]int{diagnosis.Admitted: admitted, diagnosis.Refused: refused, diagnosis.Unsure: unsure}[report.Verdict], nil
}

// read reads the files that the command line names.
func (o options) read(stdin io.Reader) (diagnosis.Setup, error) {
	s := diagnosis.Setup{Variables: o.variables, Origin: o.origin, Function: o.function, Form: o.form, Now: o.now}
	text, err := content(o.config, stdin, wif.Most)
	if errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("%w; make it by: terraform -chdir=infra output -json wif >wif.json, and name it with -config", err)
	} else if err != nil {
		return s, err
	}
	if s.WIF, err = wif.Parse(text); err != nil {
		return s, err
	}
	if o.token != "" {
		text, err := content(o.token, stdin, token.Most)
		if err != nil {
			return s, err
		}
		read, err := token.Parse(text)
		if err != nil {
			return s, fmt.Errorf("the token: %w", err)
		}
		s.Token = &read
	}
	if err := o.find(&s); err != nil {
		return s, err
	}
	if o.jwks != "" {
		if s.JWKS, err = content(o.jwks, stdin, wif.Most); err != nil {
			return s, err
		}
	}
	return s, o.readRepository(&s)
}

// find looks up the scenario, which may have a function at its end.
func (o options) find(s *diagnosis.Setup) error {
	if o.scenario == "" {
		return nil
	}
	var ok bool
	if s.Scenario, ok = token.Find(o.scenario); ok {
		return nil
	}
	for function := range s.WIF.Deployers {
		if name, cut := strings.CutSuffix(o.scenario, "-"+function); cut && !ok {
			if s.Scenario, ok = token.Find(name); ok && o.function == "" {
				s.Function = function
			}
		}
	}
	if !ok {
		var names []string
		for _, known := range token.Scenarios {
			names = append(names, known.Name)
		}
		return fmt.Errorf("there is no scenario %q; there are %s, each also with -FUNCTION at its end", o.scenario, strings.Join(names, ", "))
	}
	return nil
}

func (o options) readRepository(s *diagnosis.Setup) error {
	folder := o.workflows
	if folder == "" {
		folder = filepath.Join(o.root, ".github", "workflows")
	}
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, os.ErrNotExist) && o.workflows == "":
		return nil
	case err != nil:
		return err
	}
	one := ""
	if !info.IsDir() { // the others come in elsewhere
		folder, one = filepath.Dir(folder), filepath.Base(folder)
	}
	if s.Workflows, err = workflow.Read(os.DirFS(folder)); err != nil {
		return err
	}
	s.Workflows = slices.DeleteFunc(s.Workflows, func(f workflow.File) bool { return one != "" && f.Name != one })
	root := o.root
	if root == "" {
		root = filepath.Join(folder, "..", "..")
	}
	s.Ignores = map[string]string{}
	for _, name := range []string{".gitignore", ".gcloudignore", ".dockerignore"} {
		text, err := content(filepath.Join(root, name), nil, wif.Most)
		if err == nil {
			s.Ignores[name] = string(text)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// content reads a file, or standard input, as far as a little more than most.
func content(name string, stdin io.Reader, most int64) ([]byte, error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // nothing was written
		stdin = file
	}
	return io.ReadAll(io.LimitReader(stdin, most+1))
}

func explain(args []string, stdin io.Reader, stdout io.Writer) (int, error) {
	inJSON := len(args) > 0 && (args[0] == "-json" || args[0] == "--json")
	if inJSON {
		args = args[1:]
	}
	pasted := strings.Join(args, " ")
	if pasted == "" {
		text, err := io.ReadAll(io.LimitReader(stdin, 64*refusal.Most))
		if err != nil {
			return unsure, err
		}
		pasted = string(text)
	}
	found := refusal.Explain(pasted)
	if inJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(append([]refusal.Error{}, found...))
		if err != nil || len(found) == 0 {
			return unsure, err
		}
		return admitted, nil
	}
	showErrors(stdout, found, refusal.Stage(pasted))
	if len(found) == 0 {
		return unsure, nil
	}
	return admitted, nil
}
