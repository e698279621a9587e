package function

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// The manifest is what Terraform, CI, the deployment and the front door know of
// the functions. It is printed from the values, never edited.
type manifest struct {
	Comment      string             `json:"//"`
	ClientHeader string             `json:"client_header"` // by which the front door says who the client is
	Settings     []manifestSetting  `json:"settings"`      // of every function
	Functions    []manifestFunction `json:"functions"`
}

type manifestFunction struct {
	Name           string             `json:"name"`
	Doc            string             `json:"doc"`
	Needs          []string           `json:"needs"`
	DatabaseRole   string             `json:"database_role,omitempty"`
	Tables         []manifestGrant    `json:"tables,omitempty"`
	Settings       []manifestSetting  `json:"settings"`
	Cookies        []string           `json:"cookies,omitempty"`
	TimeoutSeconds int                `json:"timeout_seconds"`
	Concurrency    int                `json:"concurrency"`
	MemoryMiB      int                `json:"memory_mib"`
	Schedules      []manifestSchedule `json:"schedules"`
	Routes         []manifestRoute    `json:"routes"`
}

type manifestSetting struct {
	Name     string `json:"name"`
	Doc      string `json:"doc"`
	Default  string `json:"default,omitempty"`
	Required bool   `json:"required"`
	Secret   bool   `json:"secret"`
}

type manifestGrant struct {
	Table  string `json:"table"`
	Owner  bool   `json:"owner,omitempty"`
	Select string `json:"select,omitempty"`
	Insert string `json:"insert,omitempty"`
	Update string `json:"update,omitempty"`
	Delete bool   `json:"delete,omitempty"`
}

type manifestSchedule struct {
	Name string `json:"name"`
	Cron string `json:"cron"`
	Path string `json:"path"`
}

type manifestRoute struct {
	Method    string          `json:"method"`
	Path      string          `json:"path"`
	Access    string          `json:"access"`
	BodyBytes int64           `json:"body_bytes,omitempty"`
	Limits    []httpapi.Limit `json:"limits,omitempty"`
}

// Manifest returns the functions as JSON, in the order given.
func Manifest(fns ...Function) ([]byte, error) {
	m := manifest{ClientHeader: httpapi.ClientHeader, Comment: "Printed from functions.All by: go test ./functions -update. Do not edit."}
	for _, s := range frame {
		m.Settings = append(m.Settings, settingOf(s))
	}
	for _, fn := range fns {
		out := manifestFunction{
			Name: fn.Name, Doc: fn.Doc, Needs: []string{}, DatabaseRole: DatabaseRole(fn), Settings: []manifestSetting{}, Cookies: fn.Cookies,
			TimeoutSeconds: int(fn.Timeout / time.Second), Concurrency: fn.Concurrency, MemoryMiB: fn.MemoryMiB,
			Schedules: []manifestSchedule{}, Routes: []manifestRoute{},
		}
		for _, n := range fn.Needs {
			out.Needs = append(out.Needs, n.Name)
		}
		for _, g := range fn.Tables {
			out.Tables = append(out.Tables, manifestGrant(g))
		}
		for _, s := range fn.settings() {
			out.Settings = append(out.Settings, settingOf(s))
		}
		for _, s := range fn.Schedules {
			out.Schedules = append(out.Schedules, manifestSchedule(s))
		}
		for _, r := range Routes(fn) {
			out.Routes = append(out.Routes, manifestRoute(r))
		}
		m.Functions = append(m.Functions, out)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func settingOf(s Setting) manifestSetting {
	return manifestSetting{s.Name, s.Doc, s.Default, s.Default == "" && !s.Optional, s.Secret}
}

// Routes lists what fn serves, ordered by path and method.
func Routes(fn Function) []httpapi.Route { return listed(fn).Served() }

// listed registers fn's routes where nothing serves them.
func listed(fn Function) *httpapi.API {
	api := httpapi.New(http.NewServeMux(), fn.Timeout)
	fn.register(api, NewEnv(slog.New(slog.DiscardHandler), time.Now, nil))
	return api
}

// OpenAPI returns one document for the routes of all the functions.
func OpenAPI(fns ...Function) *huma.OpenAPI {
	api := httpapi.New(http.NewServeMux(), 0)
	for _, fn := range fns {
		fn.register(api, NewEnv(slog.New(slog.DiscardHandler), time.Now, nil))
	}
	return api.OpenAPI()
}
