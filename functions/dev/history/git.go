package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Reasons why a repository cannot be imported. Open wraps them in what to do.
var (
	ErrNoGit         = errors.New("the git program was not found")
	ErrNotRepository = errors.New("not a git repository")
	ErrShallow       = errors.New("a shallow clone, whose history is cut off")
	ErrForeign       = errors.New("a repository of another account, which git refuses to read")
)

// Repository is a git repository on this machine. It is read with the git
// program; nothing in it is changed, and none of its hooks, filters and signature
// programs is run.
type Repository struct {
	dir      string // where git is run
	common   string // the git folder that all work trees share
	origin   Origin
	versions *regexp.Regexp
}

// Open returns the repository that path stands in: a work tree or a folder in
// it, a linked work tree, or a bare repository. Tags that match versions are its
// deployments. The error says what is wrong and what to do about it.
func Open(ctx context.Context, path string, versions *regexp.Regexp) (*Repository, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is %w: there is no such folder", dir, ErrNotRepository)
	}
	r := &Repository{dir: dir, versions: versions}
	out, err := r.run(ctx, nil, "rev-parse", "--is-shallow-repository", "--git-common-dir")
	if err != nil {
		return nil, err
	}
	shallow, common, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	if shallow == "true" {
		return nil, fmt.Errorf("%s is %w; complete it with: git -C %s fetch --unshallow", dir, ErrShallow, dir)
	}
	if !filepath.IsAbs(common) {
		common = filepath.Join(dir, common)
	}
	// One repository has one identity, by whatever link it is reached.
	if common, err = filepath.EvalSymlinks(common); err != nil {
		return nil, err
	}
	r.common = common
	r.origin = Origin{Source: "git", ExternalID: common, Name: r.name(ctx, common)}
	return r, nil
}

// name returns what people call the repository: the last part of where it was
// cloned from, or of the folder that it stands in.
func (r *Repository) name(ctx context.Context, common string) string {
	// No remote is an answer, not a failure.
	if out, err := r.run(ctx, nil, "config", "--get", "remote.origin.url"); err == nil {
		url := strings.TrimRight(strings.TrimSpace(string(out)), "/")
		if name := strings.TrimSuffix(url[strings.LastIndexAny(url, `/:\`)+1:], ".git"); name != "" {
			return clean([]byte(name))
		}
	}
	if filepath.Base(common) == ".git" {
		common = filepath.Dir(common)
	}
	return clean([]byte(strings.TrimSuffix(filepath.Base(common), ".git")))
}

// Origin identifies the repository by the path of its git folder, which all its
// work trees share.
func (r *Repository) Origin() Origin { return r.origin }

// quiet keeps what a user or a repository has configured from changing what git
// prints, or from running programs.
var quiet = []string{
	"--no-pager",
	"-c", "log.showSignature=false",
	"-c", "log.follow=false",
	"-c", "color.ui=false",
	"-c", "core.fsmonitor=false",
	"-c", "core.hooksPath=" + os.DevNull,
}

// command returns git with arguments, to be run in the repository.
func (r *Repository) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-C", r.dir}, quiet...), args...)...)
	cmd.Env = append(environment(os.Environ()),
		"LC_ALL=C",                   // messages are matched
		"GIT_NO_REPLACE_OBJECTS=1",   // the history as it was made
		"GIT_GRAFT_FILE="+os.DevNull, // likewise
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_FLUSH=0", // else git log makes a write, and the import a read, of each commit
	)
	return cmd
}

// environment returns environ without what would point git elsewhere or have it
// print traces: inside a hook, GIT_DIR names the hook's repository. Settings that
// say which repositories are to be trusted stay.
func environment(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "GIT_") || name == "GIT_EXEC_PATH" ||
			strings.HasPrefix(name, "GIT_CONFIG_") && name != "GIT_CONFIG_PARAMETERS" {
			kept = append(kept, entry)
		}
	}
	return kept
}

// run runs git to its end and returns what it printed.
func (r *Repository) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var complaint tail
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	return out, r.explain(ctx, err, &complaint)
}

var foreignAt = regexp.MustCompile(`(?:ownership in repository at|unsafe repository \()\s*'([^']+)'`)

// explain turns the failure of a git process into what is wrong and what to do.
func (r *Repository) explain(ctx context.Context, err error, complaint *tail) error {
	said := complaint.String()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w; install it (package: git)", ErrNoGit)
	case strings.Contains(said, "dubious ownership"), strings.Contains(said, "unsafe repository"):
		// git names the repository's top, which is what it wants to hear back.
		top := r.dir
		if m := foreignAt.FindStringSubmatch(said); m != nil {
			top = m[1]
		}
		return fmt.Errorf("%s is %w; if you trust it: git config --global --add safe.directory %s", top, ErrForeign, top)
	case strings.Contains(said, "not a git repository"):
		return fmt.Errorf("%s is %w", r.dir, ErrNotRepository)
	case said == "":
		return fmt.Errorf("git in %s: %w", r.dir, err)
	default:
		return fmt.Errorf("git in %s: %w: %s", r.dir, err, said)
	}
}

// tail keeps the end of what is written to it, where git says why it stopped.
type tail struct{ kept []byte }

const tailBytes = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return clean(bytes.TrimSpace(t.kept)) }
