package functions_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// pipeline is what the README has a job report with.
type pipeline struct {
	Permissions map[string]string
	Steps       []struct {
		Env map[string]string
		Run string
	}
}

func readPipeline(t *testing.T) pipeline {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page(t, "README.md"))
	if blocks == nil {
		t.Fatal("the README shows no pipeline")
	}
	var p pipeline
	if err := yaml.Unmarshal([]byte(blocks[1]), &p); err != nil || len(p.Steps) != 1 || p.Permissions["id-token"] != "write" {
		t.Fatalf("%+v, %v", p, err)
	}
	return p
}

// What the README says reports a deployment, with a token of GitHub's and nothing else,
// also where answers are lost and the dashboard is away for a while; and it fails where
// the report is refused.
func TestTheREADMEsPipelineReports(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("no " + name + ": apt-get install " + name)
		}
	}
	h := open(t)
	owner := h.newSomebody(t)
	var dashboard http.Handler
	var answers atomic.Int32 // that are lost, before one arrives
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lost := httptest.NewRecorder()
		if answers.Add(-1) >= 0 {
			dashboard.ServeHTTP(lost, r)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		dashboard.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	settings := maps.Clone(h.settings)
	settings["WORKFLOW_AUDIENCE"], settings["DATABASE_URL"] = server.URL, pgtest.As(t, h.db.Config().ConnString(), "metrics")
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	var err error
	if dashboard, err = function.Handler(env, metrics.Function); err != nil {
		t.Fatal(err)
	}

	fakes := t.TempDir()
	if err := os.WriteFile(filepath.Join(fakes, "sleep"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	step := readPipeline(t).Steps[0]
	run := func(status string, changes map[string]string) (string, error) {
		job := maps.Clone(step.Env)
		maps.Copy(job, map[string]string{
			"DASHBOARD": server.URL, "SERVICE": owner.service, "PATH": fakes + ":" + os.Getenv("PATH"),
			"ACTIONS_ID_TOKEN_REQUEST_TOKEN": h.github.Runner, "ACTIONS_ID_TOKEN_REQUEST_URL": h.github.RunnerURL,
			"GITHUB_SHA": strings.Repeat("ab", 20), "GITHUB_REF_NAME": "main", "GITHUB_RUN_ID": "1658821493",
		})
		maps.Copy(job, changes)
		command := exec.CommandContext(t.Context(), "bash", "-e", "-c", step.Run)
		for name, value := range job {
			command.Env = append(command.Env, name+"="+strings.ReplaceAll(value, "${{ job.status }}", status))
		}
		text, err := command.CombinedOutput()
		return string(text), err
	}
	if text, err := run("success", nil); err == nil || !strings.Contains(text, "untrusted_repository") || !strings.Contains(text, "repository_id 74, repository_owner_id 65") {
		t.Errorf("without trust: %s, %v", text, err)
	}
	if _, err := h.db.Exec(t.Context(), "INSERT INTO trusted_repositories (team_id, repository_id, repository_owner_id, name) VALUES ($1, 74, 65, 'acme/shop')", owner.team); err != nil {
		t.Fatal(err)
	}
	if text, err := run("success", map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}); err == nil || !strings.Contains(text, "401") {
		t.Errorf("without the permission: %s, %v", text, err)
	}
	if text, err := run("failure", nil); err != nil || !strings.Contains(text, `"changed":true`) {
		t.Errorf("%s, %v", text, err)
	}
	// Run again, with two answers that are lost: the third tells that it is known.
	answers.Store(2)
	if text, err := run("success", nil); err != nil || !strings.Contains(text, `"status":"success"`) || !strings.Contains(text, `"changed":false`) {
		t.Errorf("%s, %v", text, err)
	}
	w := h.ask(t, http.MethodGet, "/api/metrics/deployments?service="+owner.service, nil, &owner.walker)
	var list metrics.Deployments
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Deployments) != 2 || list.Deployments[0].Ref != "main" || list.Deployments[0].Status != "success" {
		t.Errorf("%s, %v", w.Body, err)
	}
}
