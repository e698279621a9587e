// Package wif reads what Terraform says of workload identity federation: the pool,
// the provider, and who may impersonate whom. Whether that is right is left to
// package diagnosis.
package wif

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Most is more than any such output is long.
const Most = 4 << 20

// Config is the output wif of infra/outputs.tf.
type Config struct {
	ProjectID     string              `json:"project_id"`
	ProjectNumber string              `json:"project_number"`
	Pool          Pool                `json:"pool"`
	Provider      Provider            `json:"provider"`
	Deployers     map[string]Deployer `json:"deployers"`
	Functions     map[string]Function `json:"functions"`
}

// Pool is a workload identity pool. Its name holds the project's number.
type Pool struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

// Provider admits tokens to the pool.
type Provider struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	Issuer             string            `json:"issuer"`
	AllowedAudiences   []string          `json:"allowed_audiences"`
	AttributeMapping   map[string]string `json:"attribute_mapping"`
	AttributeCondition string            `json:"attribute_condition"`
	Disabled           bool              `json:"disabled"`
}

// Deployer is the account that a function's pipeline impersonates.
type Deployer struct {
	Email        string   `json:"email"`
	Environment  string   `json:"environment"`
	Members      []Member `json:"members"`
	ActsAs       []string `json:"acts_as"`
	ProjectRoles []string `json:"project_roles"`
}

// Member is one who holds a role on the deployer.
type Member struct {
	Role   string `json:"role"`
	Member string `json:"member"`
}

// Function is a deployed function and the account it runs as.
type Function struct {
	Service        string `json:"service"`
	Region         string `json:"region"`
	RuntimeAccount string `json:"runtime_account"`
}

// Parse reads the output alone, as `terraform output -json wif` prints it, or
// among all outputs, as `terraform output -json` does.
func Parse(text []byte) (Config, error) {
	if len(text) > Most {
		return Config{}, fmt.Errorf("the output of Terraform is longer than %d MiB; pass `terraform output -json wif`", Most>>20)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return Config{}, errors.New("the output of Terraform is empty: run `terraform -chdir=infra output -json wif` after an apply")
	}
	var all struct {
		WIF *struct {
			Value json.RawMessage `json:"value"`
		} `json:"wif"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return Config{}, unreadable(err)
	}
	if all.WIF != nil {
		if text = all.WIF.Value; len(text) == 0 {
			return Config{}, errors.New("the output of Terraform has a wif without a value: run `terraform -chdir=infra output -json wif` after an apply")
		}
	}
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return Config{}, unreadable(err)
	}
	if c.Pool == (Pool{}) && c.Provider.Name == "" {
		return Config{}, errors.New("this JSON holds no pool and no provider: pass `terraform output -json wif`, the object with project_id, pool, provider, deployers and functions")
	}
	return c, nil
}

func unreadable(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field == "" {
		return fmt.Errorf("the output of Terraform is %s, and not the object with project_id, pool, provider, deployers and functions: pass `terraform output -json wif`", article(kind.Value))
	}
	if errors.As(err, &kind) {
		return fmt.Errorf("the output of Terraform: %s is a %s, where %s is wanted", kind.Field, kind.Value, kind.Type)
	}
	return fmt.Errorf("the output of Terraform is not JSON (%w): use `terraform output -json wif`, with -json", err)
}

// article is what json calls a kind of value, as people do.
func article(kind string) string {
	switch kind {
	case "array":
		return "a list"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}
