// Command mutants breaks the code on purpose, one promise at a time, and fails
// unless the tests see it. Run it at the root of the repository:
//
//	go run ./.ci/mutants [-only TEXT] [-within 4m]
//
// No file is changed: the compiler is given another text for one of them
// (go test -overlay). Each group of tests is first run on the code as it is, so
// that what fails afterwards fails for the mutant. A mutant whose text is not
// found, or which does not compile, counts as failed: the table is stale. With
// -within they come in another order each time, and those for which no time is left
// are counted.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// mutant is one promise broken.
type mutant struct {
	why   string // what is broken
	file  string
	edits []edit
	tests tests
}

// edit replaces a text that stands in the file once.
type edit struct{ from, to string }

// tests are the tests of a package that are to notice. It is comparable, so that
// each group is run once without a mutant.
type tests struct {
	name    string
	folder  string
	pattern string
	rapid   bool // they are also told how to look for counterexamples
}

func main() {
	only := flag.String("only", "", "run only the mutants whose file or description has this `text`")
	parallel := flag.Int("parallel", runtime.NumCPU(), "how many to run at once")
	within := flag.Duration("within", 0, "begin no more mutants after this time; 0 is all of them")
	flag.Parse()
	chosen := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !strings.Contains(m.file+" "+m.why, *only) })
	if *within > 0 {
		rand.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	}
	os.Exit(run(chosen, *parallel, *within, os.Stdout))
}

// run prints a line for each mutant as soon as it is done, and returns the exit
// code.
func run(chosen []mutant, parallel int, within time.Duration, out io.Writer) int {
	started := time.Now()
	work, err := os.MkdirTemp("", "mutants")
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(work) }()
	var groups []tests
	for _, m := range chosen {
		if !slices.Contains(groups, m.tests) {
			groups = append(groups, m.tests)
		}
	}
	passed, failed, left := 0, 0, 0
	var mu sync.Mutex
	report := func(problem error, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf(format, args...)
		if problem != nil {
			failed++
			fmt.Fprintf(out, "FAILED  %s: %v\n", line, problem)
			return
		}
		passed++
		fmt.Fprintf(out, "killed  %s\n", line)
	}
	for _, m := range chosen {
		if _, err := m.text(); err != nil {
			report(err, "%s: %s", m.file, m.why)
		}
	}
	inParallel(parallel, len(groups), func(i int) {
		if err := groups[i].pass(); err != nil {
			report(err, "without a mutant, %s (%s)", groups[i].name, groups[i].folder)
		}
	})
	if failed == 0 {
		inParallel(parallel, len(chosen), func(i int) {
			began := time.Now()
			if within > 0 && began.Sub(started) > within {
				mu.Lock()
				defer mu.Unlock()
				left++
				return
			}
			err := chosen[i].die(filepath.Join(work, fmt.Sprint(i)))
			report(err, "%s: %s (%s, %.1f s)", chosen[i].file, chosen[i].why, chosen[i].tests.name, time.Since(began).Seconds())
		})
	}
	fmt.Fprintf(out, "in %.0f s\n%d passed, %d failed\n", time.Since(started).Seconds(), passed, failed)
	if left > 0 {
		fmt.Fprintf(out, "%d were not begun: without -within they are\n", left)
	}
	if failed > 0 || passed == 0 {
		return 1
	}
	return 0
}

func inParallel(most, n int, do func(i int)) {
	turns := make(chan struct{}, max(1, most))
	var all sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			do(i)
		})
	}
	all.Wait()
}

// pass runs the tests on the code as it is.
func (t tests) pass() error {
	said, err := t.run()
	switch {
	case err != nil:
		return fmt.Errorf("%w\n%s", err, said)
	case bytes.Contains(said, []byte("no tests to run")):
		return errors.New("there are no such tests")
	}
	return nil
}

func (t tests) run(flags ...string) (said []byte, err error) {
	args := append([]string{"test", "-count=1", "-vet=off", "-failfast", "-timeout=60s", "-run=" + t.pattern}, flags...)
	args = append(args, t.folder)
	if t.rapid {
		// A counterexample is enough; nobody reads it, so it need not be small.
		args = append(args, "-rapid.nofailfile", "-rapid.shrinktime=0s")
	}
	return exec.Command("go", args...).CombinedOutput()
}

// text is what the file says of the mutant.
func (m mutant) text() (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	mutated := string(text)
	for _, e := range m.edits {
		if n := strings.Count(mutated, e.from); n != 1 {
			return "", fmt.Errorf("the text to be replaced is there %d times: %q", n, e.from)
		}
		mutated = strings.Replace(mutated, e.from, e.to, 1)
	}
	return mutated, nil
}

// die runs the tests on the mutant and returns why it lives.
func (m mutant) die(work string) error {
	mutated, err := m.text()
	if err != nil {
		return err
	}
	overlay, err := lay(work, m.file, mutated)
	if err != nil {
		return err
	}
	said, err := m.tests.run("-overlay=" + overlay)
	switch {
	case err == nil:
		return errors.New("the tests pass")
	case !bytes.Contains(said, []byte("--- FAIL: ")) && !bytes.Contains(said, []byte("\npanic: ")):
		return fmt.Errorf("it never ran: %s", said)
	}
	return nil
}

// lay writes the text that the compiler is to see in place of file, and returns
// the overlay that says so.
func lay(work, file, text string) (overlay string, err error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	there, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	mutant, overlay := filepath.Join(work, "mutant.go"), filepath.Join(work, "overlay.json")
	table, err := json.Marshal(map[string]map[string]string{"Replace": {there: mutant}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(os.WriteFile(mutant, []byte(text), 0o600), os.WriteFile(overlay, table, 0o600))
}
