package function_test

import (
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
)

// TestServingCollects asks a process of its own: here other tests may have served
// before.
func TestServingCollects(t *testing.T) {
	if os.Getenv("TEST_SERVING_COLLECTS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestServingCollects$")
		cmd.Env = append(os.Environ(), "TEST_SERVING_COLLECTS=1")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
		return
	}
	if debug.SetGCPercent(-1) != -1 {
		t.Error("the collector runs while the process starts")
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil)
	if _, err := function.Handler(env); err != nil {
		t.Fatal(err)
	}
	if debug.SetGCPercent(100) == -1 {
		t.Error("the collector does not run once the process serves")
	}
}
