package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// shell runs other programs, and says so.
type shell struct {
	ctx  context.Context
	path string // as PATH
	dir  string // where they run
	out  io.Writer
	dry  bool // only what changes nothing is run
}

func (sh shell) say(format string, args ...any) { fmt.Fprintf(sh.out, format+"\n", args...) }

// ask runs a program that changes nothing, and returns what it prints.
func (sh shell) ask(program string, args ...string) (string, error) {
	return sh.call("", program, args...)
}

// do runs a program that changes something, with in as its input, unless this is a
// dry run. What it prints can be pasted.
func (sh shell) do(in, program string, args ...string) error {
	line := []string{program}
	for _, arg := range args {
		line = append(line, quoted(arg))
	}
	text := strings.Join(line, " ")
	if in != "" {
		text += " <<'END'\n" + strings.TrimSuffix(in, "\n") + "\nEND"
	}
	if sh.dry {
		sh.say("would run: %s", text)
		return nil
	}
	sh.say("%s", text)
	_, err := sh.call(in, program, args...)
	return err
}

func (sh shell) call(in, program string, args ...string) (string, error) {
	file, err := sh.find(program)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(sh.ctx, file, args...)
	command.Dir = sh.dir
	command.Env = append(os.Environ(), "PATH="+sh.path, "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "GH_PROMPT_DISABLED=1", "NO_COLOR=1")
	command.Stdin = strings.NewReader(in)
	var said bytes.Buffer
	command.Stderr = &said
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %s", program, strings.Join(args[:min(3, len(args))], " "), cmp.Or(strings.TrimSpace(said.String()), err.Error()))
	}
	return strings.TrimSpace(string(text)), nil
}

// remedies say where a program comes from.
var remedies = map[string]string{
	"gcloud":    "https://cloud.google.com/sdk/docs/install, then: gcloud auth login",
	"gh":        "https://cli.github.com, then: gh auth login",
	"terraform": "https://developer.hashicorp.com/terraform/install",
}

func (sh shell) find(program string) (string, error) {
	for _, folder := range filepath.SplitList(sh.path) {
		file := filepath.Join(folder, program)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("this takes %s: %s", program, remedies[program])
}

// absent tells whether an error says that something is not there. Whoever may not
// look is told the same by some of Google's services; then what is made fails, and
// says why.
func absent(err error) bool {
	return regexp.MustCompile(`(?i)NOT_FOUND|not found|does not exist|may not exist|HTTP 404`).MatchString(err.Error())
}

// ensure runs make, unless ask finds what it makes.
func (sh shell) ensure(what string, ask, make []string) error {
	_, err := sh.ask(ask[0], ask[1:]...)
	switch {
	case err == nil:
		sh.say("%s is there", what)
		return nil
	case !absent(err):
		return err
	}
	return sh.do("", make[0], make[1:]...)
}

func quoted(arg string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./:@=,+-]+$`).MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
