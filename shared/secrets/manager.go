package secrets

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
		return "", explain(reference, err)
	}
	payload := answer.GetPayload()
	if payload.GetDataCrc32C() != int64(crc32.Checksum(payload.GetData(), crc32.MakeTable(crc32.Castagnoli))) {
		return "", fmt.Errorf("%s arrived damaged: its checksum does not fit", reference)
	}
	if len(payload.GetData()) == 0 {
		return "", fmt.Errorf("%s is empty: add a version that holds the value", reference)
	}
	return string(payload.GetData()), nil
}

// remedies say to an operator what Secret Manager means, and what to do.
var remedies = map[codes.Code]string{
	codes.NotFound:           "there is no such secret, or it has no such version: gcloud secrets versions add",
	codes.FailedPrecondition: "that version is disabled or destroyed: gcloud secrets versions enable, or add another",
	codes.PermissionDenied:   "the function's account may not read it: give it roles/secretmanager.secretAccessor on this secret",
	codes.InvalidArgument:    "that is no name of a version: write sm://projects/PROJECT/secrets/NAME/versions/latest",
	codes.Unauthenticated:    "Google does not know the function's account: see that it exists and is not disabled",
}

func explain(reference string, err error) error {
	if remedy, known := remedies[status.Code(err)]; known {
		return fmt.Errorf("%s: %s (%w)", reference, remedy, err)
	}
	return err
}

func (m *manager) close(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		return nil
	}
	return m.client.Close()
}
