package secrets

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"

	"github.com/devops-dashboard/dashboard/shared/function"
)

// manager is the process's one connection to Secret Manager, opened at the first
// read.
type manager struct {
	options []option.ClientOption

	mu     sync.Mutex
	client *secretmanager.Client
}

// Through has the process's references read through a client with these options.
// It must come before the first For.
func Through(env *function.Env, options ...option.ClientOption) { managerOf(env, options...) }

func managerOf(env *function.Env, options ...option.ClientOption) *manager {
	return function.Once(env, "Secret Manager", func() *manager {
		m := &manager{options: options}
		env.OnStop(m.close)
		return m
	})
}

// opened returns the client, and makes it at the first call that succeeds.
func (m *manager) opened(ctx context.Context) (*secretmanager.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		// The client outlives this read, and so must what it logs in with.
		client, err := secretmanager.NewClient(context.WithoutCancel(ctx), m.options...)
		if err != nil {
			return nil, err
		}
		m.client = client
	}
	return m.client, nil
}

func (m *manager) read(ctx context.Context, reference string) (string, error) {
	client, err := m.opened(ctx)
	if err != nil {
		return "", err
	}
	answer, err := client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: reference})
	if err != nil {
		return "", err
	}
	payload := answer.GetPayload()
	if payload.DataCrc32C != nil && *payload.DataCrc32C != int64(crc32.Checksum(payload.GetData(), crc32.MakeTable(crc32.Castagnoli))) {
		return "", fmt.Errorf("%s arrived damaged: its checksum does not fit", reference)
	}
	return string(payload.GetData()), nil
}

func (m *manager) close(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		return nil
	}
	return m.client.Close()
}
