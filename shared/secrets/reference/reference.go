// Package reference reads a setting of the frame that may be a reference to Secret
// Manager, over plain HTTP: the frame stands below package secrets, and a function
// that has no other use for gRPC is not to link it. What functions read themselves is
// left to package secrets.
package reference

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"cloud.google.com/go/compute/metadata"
)

const (
	scheme  = "sm://"
	manager = "https://secretmanager.googleapis.com/v1/"
	most    = 128 << 10 // a secret has 64 KiB at most, before base64
)

// Setting is a value, or a reference to one that is read at its first use.
type Setting struct {
	name, raw string
	reference string // "" for a plain value

	client *http.Client
	at     string
	token  func(context.Context) (string, error)

	mu    sync.Mutex
	known bool
	value string
}

// New returns the setting of this name, which raw is set to.
func New(name, raw string) *Setting {
	server := metadata.NewClient(nil)
	return newSetting(name, raw, http.DefaultClient, manager, func(ctx context.Context) (string, error) {
		return server.GetWithContext(ctx, "instance/service-accounts/default/token")
	})
}

func newSetting(name, raw string, client *http.Client, at string, token func(context.Context) (string, error)) *Setting {
	reference, found := strings.CutPrefix(raw, scheme)
	if !found {
		reference = ""
	}
	return &Setting{name: name, raw: raw, reference: reference, client: client, at: at, token: token}
}

// Plain returns the value where it stands in the setting itself.
func (s *Setting) Plain() (string, bool) { return s.raw, s.reference == "" }

// Get returns the value. A failure is not remembered.
func (s *Setting) Get(ctx context.Context) (string, error) {
	if s.reference == "" {
		return s.raw, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		return s.value, nil
	}
	value, err := s.read(ctx)
	if err != nil {
		return "", fmt.Errorf("setting %s: %w", s.name, err)
	}
	s.known, s.value = true, value
	return value, nil
}

// Forget has the value read again, for a caller whom it got nowhere: it may have
// been changed.
func (s *Setting) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.value = false, ""
}

func (s *Setting) read(ctx context.Context) (string, error) {
	text, err := s.token(ctx)
	if err != nil {
		return "", fmt.Errorf("no token from the metadata server: %w", err)
	}
	var token struct {
		Value string `json:"access_token"`
	}
	if json.Unmarshal([]byte(text), &token) != nil || token.Value == "" {
		return "", errors.New("the metadata server answered with no token")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.at+s.reference+":access", nil)
	if err != nil {
		return "", errors.New("the reference is none: write sm://projects/P/secrets/S/versions/latest")
	}
	r.Header.Set("Authorization", "Bearer "+token.Value)
	answer, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return "", err
	}
	return s.payload(answer.StatusCode, body)
}

func (s *Setting) payload(status int, body []byte) (string, error) {
	var said struct {
		Error   struct{ Status, Message string }
		Payload struct {
			Data       []byte
			DataCrc32c string
		}
	}
	err := json.Unmarshal(body, &said)
	switch {
	case status != http.StatusOK && said.Error.Status != "":
		return "", fmt.Errorf("from Secret Manager: answered %d %s: %s", status, said.Error.Status, said.Error.Message)
	case status != http.StatusOK:
		return "", fmt.Errorf("from Secret Manager: answered %d", status)
	case err != nil:
		return "", errors.New("from Secret Manager: what cannot be read") // its words may hold the secret
	}
	sum := strconv.FormatUint(uint64(crc32.Checksum(said.Payload.Data, crc32.MakeTable(crc32.Castagnoli))), 10)
	if said.Payload.DataCrc32c != sum {
		return "", fmt.Errorf("%s arrived damaged: its checksum does not fit", s.reference)
	}
	return strings.TrimSpace(string(said.Payload.Data)), nil
}
