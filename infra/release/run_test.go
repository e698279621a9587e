package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommandSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	empty, broken := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(broken, "infra"), 0o700), os.WriteFile(filepath.Join(broken, "infra", "functions.json"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	with := func(flags ...string) []string { return slices.Concat(told, flags) }
	for name, test := range map[string]struct {
		dir  string
		args []string
		code int
		says string
	}{
		"help":                {"../..", []string{"-h"}, 0, "release -function NAME -project ID -region R -commit SHA"},
		"nothing":             {"../..", nil, 2, `-function is "" and must be a name in infra/functions.json`},
		"an unknown flag":     {"../..", with("-quick"), 2, "flag provided but not defined: -quick"},
		"a word too much":     {"../..", with("auth"), 2, `["auth"] is too much`},
		"a number":            {"../..", with("-project=123456789012"), 2, "a project's id (not its number or name)"},
		"a zone":              {"../..", with("-region=europe-west1-b"), 2, "a region, such as europe-west1"},
		"half a commit":       {"../..", with("-commit=0123abc"), 2, "the full id of the commit"},
		"a flag for a commit": {"../..", with("-commit=--x;y=1"), 2, "the full id of the commit"},
		"no time to see":      {"../..", with("-watch=3m"), 2, "must be 4m0s at least"},
		"an unknown function": {"../..", with("-function=nothing"), 2, `the manifest has no function "nothing"`},
		"elsewhere":           {empty, told, 2, "run this at the root of the repository"},
		"a broken manifest":   {broken, told, 2, "print it again: go test ./functions -update"},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), test.dir, test.args, &out); code != test.code || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: exit code %d: %s", name, code, out.String())
		}
	}
}

func TestTheSourceMayLieElsewhere(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	if code, said := c.release("-source=elsewhere", "-watch=4m"); code != 0 || !slices.Contains(c.gcloud[1], "--source=elsewhere") {
		t.Errorf("exit code %d, gcloud %q: %s", code, c.gcloud[1], said)
	}
}

// TestGcloudIsAProgram runs one that is not gcloud.
func TestGcloudIsAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	script := `#!/bin/sh
case $1 in
  says) echo "  $2 in $(basename "$PWD"), prompts $CLOUDSDK_CORE_DISABLE_PROMPTS  "; echo noise >&2;;
  fails) seq 30 >&2; echo "ERROR: $2" >&2; exit 1;;
  mute) exit 3;;
  hangs) echo $$; exec sleep 600;;
esac
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	run := gcloud(program, dir)
	if text, err := run(t.Context(), "says", "a word"); err != nil || text != "a word in "+filepath.Base(dir)+", prompts 1" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := run(t.Context(), "fails", "a reason", "--secret", "--more"); text != "" || err == nil || !strings.HasPrefix(err.Error(), "gcloud fails a reason --secret: 12\n") || !strings.HasSuffix(err.Error(), "\nERROR: a reason") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := run(t.Context(), "mute"); err == nil || err.Error() != "gcloud mute: exit status 3" {
		t.Errorf("%v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := run(ctx, "hangs"); err == nil {
		t.Error("it is not stopped")
	}
	if _, err := gcloud(filepath.Join(dir, "nowhere"), dir)(t.Context(), "says"); err == nil {
		t.Error("there is a program where there is none")
	}
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	if err := wait(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := wait(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatIsNoServiceIsNotReleased(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                "describes no service",
		"[]":              "describes no service",
		"{}":              "without a state",
		`{"metadata":{}}`: "without a state",
		`{"status":{}}`:   "without a state",
		`{"metadata":{"generation":2},"status":{"observedGeneration":1}}`: "still under way",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Both ends of a share count once, whatever its tag; a tag alone counts nothing.
	s, err := read(`{"metadata":{"generation":1},"status":{"observedGeneration":1,"traffic":[{"revisionName":"a","percent":90},{"revisionName":"a","percent":5,"tag":"x"},{"revisionName":"b","percent":5,"tag":"candidate","url":"u"},{"revisionName":"c","tag":"y"}]}}`)
	if err != nil || !maps.Equal(s.shares, shares{"a": 95, "b": 5}) || s.tagged != "b" || !s.reachable() {
		t.Errorf("%+v, %v", s, err)
	}
	if s.shares.String() != "a=95,b=5" {
		t.Errorf("it is spelt %s", s.shares)
	}
}

// TestTheTokenStaysWhereItBelongs has the candidate send its caller elsewhere.
func TestTheTokenStaysWhereItBelongs(t *testing.T) {
	t.Parallel()
	asked := 0
	elsewhere := transport(func(request *http.Request) (*http.Response, error) {
		if asked++; asked > 1 {
			return nil, errLost
		}
		return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"https://elsewhere.example/"}}, Body: http.NoBody, Request: request}, nil
	})
	status, _, err := asking(elsewhere, "https://candidate---auth.run.app", "id-token")(t.Context(), "/live")
	if status != 302 || err != nil || asked != 1 {
		t.Errorf("%d after %d requests, %v", status, asked, err)
	}
	if _, _, err := asking(elsewhere, "://", "id-token")(t.Context(), "/live"); err == nil || asked != 1 {
		t.Errorf("%d requests, %v", asked, err)
	}
}

func TestWithoutATokenNothingIsPromoted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breaks func(*cloud)
		says   string
	}{
		"refused": {func(c *cloud) { c.refuses = "iamcredentials.googleapis.com" }, "deploy-auth@acme-dash.iam.gserviceaccount.com needs roles/iam.serviceAccountOpenIdTokenCreator on itself"},
		"empty":   {func(c *cloud) { c.emptyToken = true }, "an empty ID token"},
		"blind":   {func(c *cloud) { c.refuses = "monitoring.googleapis.com" }, "deploy-auth needs monitoring.timeSeries.list"},
		"unready": {func(c *cloud) { c.unready = true }, "it is not ready, says Cloud Run"},
		"old":     {func(c *cloud) { c.names = before }, "gcloud names no new revision but"},
	} {
		c := newCloud(t)
		test.breaks(c)
		if code, said := c.release(); code != 1 || !strings.Contains(said, test.says) || len(c.visible) > 0 {
			t.Errorf("%s: exit code %d, the traffic was %v: %s", name, code, c.visible, said)
		}
	}
}

// TestGcloudKnowsWhatItIsTold has the installed gcloud read what releases tell it. It
// is signed in as nobody, so that it stops there.
func TestGcloudKnowsWhatItIsTold(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("no gcloud; it comes with: https://cloud.google.com/sdk/docs/install")
	}
	good, bad := newCloud(t), newCloud(t)
	bad.failures[candidate] = 9
	good.release()
	bad.release()
	calls := map[string][]string{"a flag that is wrong": {"run", "services", "update-traffic", "auth", "--to-newest"}}
	for _, args := range slices.Concat(good.gcloud, bad.gcloud) {
		calls[strings.Join(args, " ")] = args
	}
	if len(calls) != 9 {
		t.Errorf("they are told %q", slices.Sorted(maps.Keys(calls)))
	}
	config := t.TempDir()
	for line, args := range calls {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), program, args...)
			command.Dir = "../.."
			command.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+config, "CLOUDSDK_CORE_DISABLE_PROMPTS=1", "CLOUDSDK_CORE_CHECK_GCE_METADATA=false")
			text, err := command.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if misread := exit != nil && exit.ExitCode() == 2; misread != strings.HasPrefix(line, "a flag") {
				t.Errorf("gcloud %s: %s", line, text)
			}
		})
	}
}
