package functions_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/function/stage"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// release is what the binaries that the tests build are told of their commit.
const release = "0123abc"

// build builds what the arguments name, in dir and offline, into a stripped
// binary that knows its release.
func build(t testing.TB, dir string, args ...string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "main")
	// Trimmed, all copies of the sources share what is compiled.
	flags := []string{"build", "-trimpath", "-ldflags", "-s -w -X github.com/devops-dashboard/dashboard/shared/function.release=" + release, "-o", binary}
	goTool(t, dir, append(flags, args...)...)
	return binary
}

// goTool runs the go command for the machine that functions are deployed to,
// offline, and returns its output.
func goTool(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	command := exec.Command("go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-mod=mod -tags="+stage.Tags)
	var problem bytes.Buffer
	command.Stderr = &problem
	text, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &problem)
	}
	return text
}

// settingsOf gives a value to each setting that the function cannot do without.
// Keys are looked at when it starts, so they are real ones.
func settingsOf(fn function.Function) []string {
	var all []string
	keys := identity.NewKeys()
	for _, s := range function.Settings(fn) {
		if s.Default == "" && !s.Optional {
			all = append(all, s.Name+"="+cmp.Or(keys[s.Name], "x"))
		}
	}
	if fn.Name == web.Function.Name { // as it is deployed
		all = append(all, "FUNCTION_URLS="+urlsAt("http://127.0.0.1:1"))
	}
	return all
}

// process is a binary that serves.
type process struct {
	url     string
	command *exec.Cmd
	says    *bytes.Buffer
	took    time.Duration // from its start to its first answer 200
}

// launch starts the binary and waits until it answers a GET of path with 200.
func launch(t testing.TB, binary, path string, env ...string) *process {
	t.Helper()
	port := freePort(t)
	p := &process{url: "http://127.0.0.1:" + port, command: exec.Command(binary), says: &bytes.Buffer{}}
	p.command.Env = append(env, "PORT="+port)
	p.command.Stdout, p.command.Stderr = p.says, p.says
	started := time.Now()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	go func() { _ = p.command.Wait(); cancel() }()
	t.Cleanup(p.end)
	for ctx.Err() == nil {
		if connection, err := net.Dial("tcp", "127.0.0.1:"+port); err != nil {
			time.Sleep(200 * time.Microsecond)
			continue
		} else {
			_ = connection.Close()
		}
		if status, _, _ := p.get(path); status == http.StatusOK {
			p.took = time.Since(started)
			return p
		}
	}
	p.end()
	t.Fatalf("%s never answered 200: %s", path, p.says)
	return nil
}

// end kills the process and waits for its end.
func (p *process) end() {
	_ = p.command.Process.Kill()
	_, _ = p.command.Process.Wait()
}

func (p *process) get(path string) (status int, header http.Header, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	answer, err := client.Get(p.url + path)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(text)
}

// resident is how many bytes of memory the process holds.
func (p *process) resident(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmRSS in %s", text)
	return 0
}

// dialled is how many TCP connections the process has open that it did not accept.
func (p *process) dialled(t testing.TB) (n int) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", p.command.Process.Pid)
	files, err := os.ReadDir(folder + "fd")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for _, file := range files {
		if target, err := os.Readlink(folder + "fd/" + file.Name()); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	port, err := strconv.Atoi(p.url[strings.LastIndex(p.url, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		text, err := os.ReadFile(folder + table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			// The second field is the local address, the tenth the inode.
			fields := strings.Fields(line)
			if len(fields) > 9 && own[fields[9]] && !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				n++
			}
		}
	}
	return n
}

func freePort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
