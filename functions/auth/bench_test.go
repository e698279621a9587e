package auth_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// beAuth is set for a process that is to be the function.
const beAuth = "AUTH_TEST_SERVE"

// TestMain lets this binary be the function, as it is deployed: in a process of
// its own.
func TestMain(m *testing.M) {
	if os.Getenv(beAuth) != "" {
		os.Exit(function.Main(auth.Function))
	}
	os.Exit(m.Run())
}

// serve starts the function in a process of its own and returns its address.
func serve(b *testing.B, settings map[string]string) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	_ = listener.Close()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), beAuth+"=1", "HOST=127.0.0.1", "PORT="+port)
	for name, value := range settings {
		command.Env = append(command.Env, name+"="+value)
	}
	var says bytes.Buffer
	command.Stderr = &says
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	b.Cleanup(func() { _ = command.Process.Kill(); <-ended })
	url := "http://127.0.0.1:" + port
	for {
		select {
		case <-ended:
			b.Fatalf("the function ended: %s", &says)
		default:
		}
		response, err := http.Get(url + function.LivePath)
		if err != nil {
			time.Sleep(time.Millisecond) // nothing tells when a process listens
			continue
		}
		_ = response.Body.Close()
		return url
	}
}

// BenchmarkLogin measures a sign-in over HTTP beside the hash that it cannot do
// without, in turns: the medians of both, and how much longer the sign-in takes.
// At most a tenth is wanted.
//
//	go test ./functions/auth -run '^$' -bench Login -benchtime 1x
func BenchmarkLogin(b *testing.B) {
	const rounds, patience, most = 100, 400, 1.10
	settings := identitytest.Settings(b)
	settings["DATABASE_URL"] = pgtest.As(b, pgtest.NewDurableServer(b).URL, "auth")
	settings["REDIS_URL"], settings["RATE_LIMIT_SCALE"] = redistest.Real(b), "1000000" // limits are in the way of a hundred sign-ins
	url := serve(b, settings)
	post := func(path string, body any, want int) {
		text, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		response, err := http.Post(url+path, "application/json", bytes.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		said, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != want {
			b.Fatalf("%s: status %d, %s, %v", path, response.StatusCode, said, err)
		}
	}
	post("/api/auth/register", ada(), http.StatusCreated)
	var logins, hashes []time.Duration
	ratio := 0.0
	for n := 0; n < rounds || n < patience && ratio > most; n++ {
		began := time.Now()
		post("/api/auth/login", map[string]string{"email": email, "password": password}, http.StatusOK)
		logins = append(logins, time.Since(began))
		hashes = append(hashes, bareHash())
		ratio = float64(p50(logins)) / float64(p50(hashes))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(p50(logins).Microseconds())/1000, "login-ms")
	b.ReportMetric(float64(p50(hashes).Microseconds())/1000, "hash-ms")
	b.ReportMetric(ratio, "times-hash")
	if ratio > most {
		b.Errorf("a sign-in takes %s, %.2f times the hash (%s); at most %.2f are wanted", p50(logins), ratio, p50(hashes), most)
	}
}

// bareHash returns how long the hash alone takes, on a thread that gives way as
// that of the function does: what else the machine runs slows both alike.
func bareHash() time.Duration {
	took := make(chan time.Duration)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		auth.GiveWay()
		began := time.Now()
		argon2.IDKey([]byte(password), make([]byte, 16), 2, 19456, 1, 32)
		took <- time.Since(began)
	}()
	return <-took
}

func p50(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
