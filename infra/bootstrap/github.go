package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wif is what Terraform says of the deployments.
type wif struct {
	ProjectID     string                `json:"project_id"`
	ProjectNumber string                `json:"project_number"`
	Provider      struct{ Name string } `json:"provider"`
	Deployers     map[string]struct{ Environment string }
	Functions     map[string]struct{ Region string }
}

// github tells GitHub what the workflows need to know, and from which branch each
// environment may be used. None of it is secret.
func github(sh shell, o options) error {
	text, err := sh.ask("terraform", "-chdir=infra", "output", "-json", "wif")
	if err != nil {
		return fmt.Errorf("%w\nTerraform must have been applied: terraform -chdir=infra apply", err)
	}
	var w wif
	if err := json.Unmarshal([]byte(text), &w); err != nil || w.ProjectNumber == "" || w.Provider.Name == "" || len(w.Deployers) == 0 || len(w.Functions) == 0 {
		return errors.New("terraform's output wif is not what infra/outputs.tf prints: apply infra as it is in this commit")
	}
	settings, err := os.ReadFile(filepath.Join(sh.dir, "infra", "terraform.tfvars"))
	if err != nil {
		return fmt.Errorf("%w: what was applied is to be told to GitHub too", err)
	}
	from := map[string]string{applying.environment: "main", planning.environment: "refs/pull/*/merge"}
	for _, d := range w.Deployers {
		from[d.Environment] = "main"
	}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if err := environment(sh, o, name, from[name]); err != nil {
			return err
		}
	}
	// The doctor reads it before each deployment. It holds nothing secret.
	var compact bytes.Buffer
	_ = json.Compact(&compact, []byte(text)) // which was read above
	region := ""
	for _, f := range w.Functions {
		region = f.Region
	}
	if err := set(sh, o, nil, map[string]string{
		"PROJECT_ID": w.ProjectID, "REGION": region, "WIF": compact.String(), "WIF_PROVIDER": w.Provider.Name,
	}); err != nil {
		return err
	}
	for _, d := range []door{applying, planning} {
		if err := set(sh, o, []string{"--env=" + d.environment}, map[string]string{
			"TFVARS":       string(settings),
			"WIF_PROVIDER": "projects/" + w.ProjectNumber + "/locations/global/workloadIdentityPools/" + d.pool + "/providers/" + provider,
		}); err != nil {
			return err
		}
	}
	sh.say("\nNext: say who must agree before infra is applied, and before a pull request is planned, which can read Terraform's state (Settings, Environments, infra and infra-plan, Required reviewers), and\n  gh secret set UPSTASH_API_KEY --env=infra --repo=%s\nThen deploy everything:\n  gh workflow run deploy.yml --repo=%s", o.repository, o.repository)
	return nil
}

// environment has it used from one branch, or from what a pattern matches, alone. One
// that is there keeps its reviewers, which a change through the API would take away.
func environment(sh shell, o options, name, from string) error {
	at := "repos/" + o.repository + "/environments/" + name
	custom, err := sh.ask("gh", "api", at, "--jq", ".deployment_branch_policy.custom_branch_policies")
	there := err == nil
	switch {
	case err != nil && !absent(err):
		return err
	case err != nil:
		if err := sh.do(`{"deployment_branch_policy":{"protected_branches":false,"custom_branch_policies":true}}`, "gh", "api", "--method=PUT", at, "--input=-", "--silent"); err != nil {
			return err
		}
	case custom != "true":
		return fmt.Errorf("the environment %s may be used from any branch: in Settings, Environments, %s choose Selected branches, and %s", name, name, from)
	}
	branches := ""
	if there || !sh.dry {
		if branches, err = sh.ask("gh", "api", at+"/deployment-branch-policies", "--jq", ".branch_policies[].name"); err != nil {
			return err
		}
	}
	switch branches {
	case from:
		sh.say("the environment %s is there", name)
		return nil
	case "":
		return sh.do("", "gh", "api", "--method=POST", at+"/deployment-branch-policies", "--raw-field=name="+from, "--raw-field=type=branch", "--silent")
	default:
		return fmt.Errorf("the environment %s may be used from %s: in Settings, Environments, %s leave %s alone", name, strings.Join(strings.Fields(branches), ", "), name, from)
	}
}

// set sets the variables that differ.
func set(sh shell, o options, where []string, values map[string]string) error {
	text, err := sh.ask("gh", slices.Concat([]string{"variable", "list", "--repo=" + o.repository, "--json=name,value"}, where)...)
	if err != nil && !(sh.dry && absent(err)) {
		return err
	}
	var listed []struct{ Name, Value string }
	if text != "" {
		if err := json.Unmarshal([]byte(text), &listed); err != nil {
			return fmt.Errorf("gh lists no variables but %q", text)
		}
	}
	has := map[string]string{}
	for _, v := range listed {
		has[v.Name] = v.Value
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if value, there := has[name]; there && strings.TrimSpace(value) == strings.TrimSpace(values[name]) {
			continue
		}
		if err := sh.do(values[name], "gh", slices.Concat([]string{"variable", "set", name, "--repo=" + o.repository}, where)...); err != nil {
			return err
		}
	}
	return nil
}
