package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is the tests, and under another name one of the programs that they run.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); slices.Contains([]string{"gcloud", "gh", "terraform"}, name) {
		os.Exit(fake{filepath.Dir(os.Args[0]), name}.run(os.Args[1:]))
	}
	// The race detector has each process sleep for a second at its end, and these are
	// hundreds.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// fake is gcloud, gh or terraform: it writes down how it was called, and what was
// made is there from then on.
type fake struct{ dir, name string }

// call is one call of a fake.
type call struct {
	Args  []string
	Input string
}

func (c call) line() string { return strings.Join(c.Args, " ") }

// environment is the one whose variables it is about.
func (c call) environment() string {
	i := slices.IndexFunc(c.Args, func(arg string) bool { return strings.HasPrefix(arg, "--env=") })
	if i < 0 {
		return ""
	}
	return c.Args[i]
}

func calls(dir string) []call {
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		panic(err)
	}
	var all []call
	for decoder := json.NewDecoder(strings.NewReader(string(text))); decoder.More(); {
		var c call
		if err := decoder.Decode(&c); err != nil {
			panic(err)
		}
		all = append(all, c)
	}
	return all
}

func (f fake) run(args []string) int {
	now := call{Args: append([]string{f.name}, args...)}
	if text, _ := os.ReadFile(filepath.Join(f.dir, "misbehave")); len(text) > 0 {
		prefix, said, _ := strings.Cut(string(text), "\n")
		if strings.HasPrefix(now.line(), prefix) {
			if what, says := strings.CutPrefix(said, "says "); says {
				fmt.Println(what)
				return 0
			}
			fmt.Fprintln(os.Stderr, said)
			return 1
		}
	}
	before := calls(f.dir)
	answer, found := f.answer(now, before)
	if !found {
		fmt.Fprintln(os.Stderr, "ERROR: NOT_FOUND (HTTP 404)")
		return 1
	}
	if answer != "" || isQuestion(now) {
		fmt.Println(answer)
		return 0
	}
	input, _ := io.ReadAll(os.Stdin)
	now.Input = string(input)
	log, err := os.OpenFile(filepath.Join(f.dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	line, _ := json.Marshal(now)
	if _, err := log.Write(append(line, '\n')); err != nil {
		panic(err)
	}
	return 0
}

func isQuestion(c call) bool {
	if c.Args[0] == "gh" && c.Args[1] == "api" {
		return !strings.Contains(c.line(), "--method=")
	}
	return slices.ContainsFunc(c.Args, func(arg string) bool {
		return slices.Contains([]string{"describe", "get-iam-policy", "list", "output"}, arg)
	})
}

// answer is what a question is answered, and whether what is asked for is there.
func (f fake) answer(now call, before []call) (string, bool) {
	made := func(parts ...string) bool {
		return slices.ContainsFunc(before, func(c call) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(c.line(), part) })
		})
	}
	line := now.line()
	switch {
	case !isQuestion(now):
		return "", true
	case strings.HasPrefix(line, "terraform"):
		text, err := os.ReadFile(filepath.Join(f.dir, "wif.json"))
		return string(text), err == nil
	case strings.HasPrefix(line, "gcloud projects describe"):
		return "123456789012", made("projects create") || !exists(f.dir, "no-project")
	case strings.Contains(line, "get-iam-policy"):
		var roles []string
		kind, rest, _ := strings.Cut(line, " get-iam-policy ")
		name, _, _ := strings.Cut(rest, " ")
		for _, c := range before {
			given, member, _ := strings.Cut(c.line(), " --member=")
			member, role, _ := strings.Cut(member, " --role=")
			if given == kind+" add-iam-policy-binding "+name && strings.Contains(line, "--filter=bindings.members="+member+" ") {
				roles = append(roles, strings.Fields(role)[0])
			}
		}
		return strings.Join(roles, "\n"), true
	case strings.HasPrefix(line, "gcloud storage buckets list"):
		return map[bool]string{true: "acme-dash-terraform"}[made("storage buckets create gs://acme-dash-terraform")], made("projects create") || !exists(f.dir, "no-project")
	case strings.Contains(line, "describe"):
		i := slices.Index(now.Args, "describe")
		name, _, _ := strings.Cut(now.Args[i+1], "@")
		in := slices.IndexFunc(now.Args, func(arg string) bool { return strings.HasPrefix(arg, "--workload-identity-pool=") })
		if in < 0 {
			return "there", made(strings.Join(now.Args[:i], " ")+" create", " "+name)
		}
		return "there", made(strings.Join(now.Args[:i], " ")+" create", name, now.Args[in])
	case strings.HasPrefix(line, "gh variable list"):
		type variable struct{ Name, Value string }
		all := []variable{}
		for _, c := range before {
			if strings.HasPrefix(c.line(), "gh variable set") && c.environment() == now.environment() {
				all = append(all, variable{c.Args[3], c.Input})
			}
		}
		text, _ := json.Marshal(all)
		return strings.NewReplacer("Name", "name", "Value", "value").Replace(string(text)), true
	case strings.Contains(line, "deployment-branch-policies"):
		for _, c := range before {
			if strings.Contains(c.line(), "--method=POST "+now.Args[2]+" ") {
				return strings.TrimPrefix(c.Args[4], "--raw-field=name="), true
			}
		}
		return "", true
	case strings.Contains(line, "/environments/"):
		return "true", made("--method=PUT " + now.Args[2])
	default: // gh api repos/OWNER/NAME
		return "65 74", true
	}
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}
