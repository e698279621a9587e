// Package secretstest gives tests a Secret Manager of their own, which answers
// Google's protocol and fails, or keeps its callers waiting, as it is told to.
package secretstest

import (
	"context"
	"hash/crc32"
	"net"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Manager is a Secret Manager.
type Manager struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer
	address string
	server  *grpc.Server

	mu      sync.Mutex
	values  map[string]string // by the names of their versions
	damaged bool
	err     error
	hold    *Hold
	reads   int
}

// New returns a Secret Manager that runs until the test ends.
func New(t testing.TB) *Manager {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Manager{address: listener.Addr().String(), server: grpc.NewServer(), values: map[string]string{}}
	secretmanagerpb.RegisterSecretManagerServiceServer(m.server, m)
	go func() { _ = m.server.Serve(listener) }()
	t.Cleanup(m.Stop)
	return m
}

// Serve has the references of env's process read here.
func (m *Manager) Serve(env *function.Env) {
	secrets.Through(env,
		option.WithEndpoint(m.address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	)
}

// Stop ends it: who calls from now on reaches nobody.
func (m *Manager) Stop() { m.server.Stop() }

// Put gives the named secret a value and returns the reference to it.
func (m *Manager) Put(secret, value string) (reference string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	version := "projects/p/secrets/" + secret + "/versions/latest"
	m.values[version] = value
	return "sm://" + version
}

// Fail has every read answered with err; nil ends that.
func (m *Manager) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Damage has every value arrive with a checksum that does not fit, or not.
func (m *Manager) Damage(damaged bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.damaged = damaged
}

// Reads returns how many reads there were.
func (m *Manager) Reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// Hold keeps reads waiting.
type Hold struct {
	Asked chan time.Duration // how long each read may wait, when it begins to
	gone  chan struct{}
}

// Hold has reads wait until Release, or until their callers give up.
func (m *Manager) Hold() *Hold {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = &Hold{Asked: make(chan time.Duration, 100), gone: make(chan struct{})}
	return m.hold
}

// Release answers those who wait, and all later ones.
func (h *Hold) Release() { close(h.gone) }

// AccessSecretVersion answers a read.
func (m *Manager) AccessSecretVersion(ctx context.Context, in *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	m.mu.Lock()
	m.reads++
	hold := m.hold
	m.mu.Unlock()
	if hold != nil {
		until, _ := ctx.Deadline()
		hold.Asked <- time.Until(until)
		select {
		case <-hold.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[in.GetName()]
	switch {
	case m.err != nil:
		return nil, m.err
	case !ok:
		return nil, status.Error(codes.NotFound, "no such secret: "+in.GetName())
	}
	sum := int64(crc32.Checksum([]byte(value), crc32.MakeTable(crc32.Castagnoli)))
	if m.damaged {
		sum++
	}
	return &secretmanagerpb.AccessSecretVersionResponse{
		Name: in.GetName(), Payload: &secretmanagerpb.SecretPayload{Data: []byte(value), DataCrc32C: &sum},
	}, nil
}
