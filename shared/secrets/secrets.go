// Package secrets reads settings that may be references to Secret Manager:
// "sm://projects/P/secrets/S/versions/V". A plain value is returned as it is.
// Nothing is read before the first use, and a failure is retried at the next.
package secrets

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// freshFor is how long a value read from Secret Manager is used before it is
// read again, so that a rotated secret arrives without a restart.
const freshFor = time.Minute

// readTime bounds one read of Secret Manager.
const readTime = 5 * time.Second

// Value is a setting that may be a reference.
type Value struct {
	name    string
	raw     string
	now     func() time.Time
	options []option.ClientOption

	mu     sync.Mutex
	client *secretmanager.Client
	value  string
	readAt time.Time
}

// For returns the declared setting as a value to be read when it is needed.
func For(env *function.Env, name string) *Value {
	raw, declared := env.Declared(name)
	if !declared.Secret {
		panic("setting " + name + " is read as a secret without being declared one")
	}
	v := &Value{name: name, raw: raw, now: env.Now}
	env.OnStop(v.close)
	return v
}

// Get returns the value. When Secret Manager does not answer, the value read
// before is used on; with none, the error is an Unavailable fault.
func (v *Value) Get(ctx context.Context) (string, error) {
	reference, ok := strings.CutPrefix(v.raw, "sm://")
	if !ok {
		return v.raw, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.readAt.IsZero() && v.now().Sub(v.readAt) < freshFor {
		return v.value, nil
	}
	value, err := v.read(ctx, reference)
	if err != nil && v.readAt.IsZero() {
		return "", fault.Away("Secret Manager", fmt.Errorf("setting %s: %w", v.name, err))
	}
	if err == nil {
		v.value = value
	}
	v.readAt = v.now()
	return v.value, nil
}

func (v *Value) read(ctx context.Context, reference string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	if v.client == nil {
		// The client outlives this read, and so must what it logs in with.
		client, err := secretmanager.NewClient(context.WithoutCancel(ctx), v.options...)
		if err != nil {
			return "", err
		}
		v.client = client
	}
	answer, err := v.client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{Name: reference})
	if err != nil {
		return "", err
	}
	payload := answer.GetPayload()
	if payload.DataCrc32C != nil && *payload.DataCrc32C != int64(crc32.Checksum(payload.GetData(), crc32.MakeTable(crc32.Castagnoli))) {
		return "", fmt.Errorf("%s arrived damaged: its checksum does not fit", reference)
	}
	return string(payload.GetData()), nil
}

func (v *Value) close(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client == nil {
		return nil
	}
	return v.client.Close()
}
