package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudsqlconn"
	"golang.org/x/oauth2"

	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// cloudSQL is a Cloud SQL instance as its connector meets it: the Admin API that
// tells of it and signs certificates, and a TLS listener before the database that
// lets in whoever has one.
type cloudSQL struct {
	api      *httptest.Server
	listener net.Listener
	server   authority // of the instance
	client   authority // of those who may connect

	mu      sync.Mutex
	down    bool     // the API answers 500
	asked   []string // what the API was asked for
	logins  []string // tokens that came with requests for a certificate
	expires time.Duration
}

const instance = "project:region:instance"

type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{t: t, key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.cert = a.sign(a.cert, &key.PublicKey)
	return a
}

func (a authority) sign(template *x509.Certificate, key any) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Error(err)
	}
	return cert
}

func pemOf(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// newCloudSQL returns an instance whose database is at address, a proxy's.
func newCloudSQL(t *testing.T, address string) *cloudSQL {
	t.Helper()
	c := &cloudSQL{server: newAuthority(t, "server"), client: newAuthority(t, "client"), expires: time.Hour}
	c.api = httptest.NewTLSServer(http.HandlerFunc(c.admin))
	t.Cleanup(c.api.Close)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// The name that the connector checks: the project and the instance.
	leaf := c.server.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "project:instance"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}, &key.PublicKey)
	c.listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ClientCAs:    c.client.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { forward(conn, address) })
		}
	})
	t.Cleanup(func() { _ = c.listener.Close(); serving.Wait() })
	return c
}

func forward(conn net.Conn, address string) {
	defer func() { _ = conn.Close() }()
	database, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = database.Close() }()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(database, conn); _ = database.Close() })
	both.Go(func() { _, _ = io.Copy(conn, database); _ = conn.Close() })
	both.Wait()
}

// admin answers as https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest
// says of connect.get and connect.generateEphemeralCert.
func (c *cloudSQL) admin(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what, found := strings.CutPrefix(r.URL.Path, "/sql/v1beta4/projects/project/instances/instance")
	if !found {
		http.NotFound(w, r)
		return
	}
	c.asked = append(c.asked, what)
	if c.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if what == "/connectSettings" {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"backendType": "SECOND_GEN", "databaseVersion": "POSTGRES_16", "region": "region",
			"ipAddresses":  []any{map[string]string{"type": "PRIMARY", "ipAddress": "192.0.2.1"}},
			"serverCaCert": map[string]string{"cert": pemOf(c.server.cert)},
		})
		return
	}
	var in struct {
		PublicKey   string `json:"public_key"`
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.logins = append(c.logins, in.AccessToken)
	block, _ := pem.Decode([]byte(in.PublicKey))
	if block == nil {
		http.Error(w, "no key", http.StatusBadRequest)
		return
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cert := c.client.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(c.expires),
	}, key)
	_ = json.NewEncoder(w).Encode(map[string]any{"ephemeralCert": map[string]string{"cert": pemOf(cert)}})
}

func (c *cloudSQL) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// options point the connector at this instance.
func (c *cloudSQL) options() []cloudsqlconn.Option {
	token := func(value string) oauth2.TokenSource {
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: value, Expiry: time.Now().Add(time.Hour)})
	}
	return []cloudsqlconn.Option{
		cloudsqlconn.WithHTTPClient(c.api.Client()),
		cloudsqlconn.WithAdminAPIEndpoint(c.api.URL),
		cloudsqlconn.WithIAMAuthNTokenSources(token("api"), token("login")),
		// The port of an instance is fixed; this listener's is not.
		cloudsqlconn.WithDialFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.1:3307" {
				return nil, errors.New("not the instance's address: " + address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, c.listener.Addr().String())
		}),
	}
}

// behindCloudSQL returns a fresh database behind an instance, and the proxy that
// stands between the two.
func behindCloudSQL(t *testing.T) (*postgres.Database, *cloudSQL, *pgtest.Proxy) {
	t.Helper()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newCloudSQL(t, at.Host)
	env := newEnv(map[string]string{
		"DATABASE_INSTANCE": instance, "DATABASE_USER": at.User.Username(), "DATABASE_NAME": strings.TrimPrefix(at.Path, "/"),
	})
	db := postgres.NewDatabase(env, c.options()...)
	t.Cleanup(func() {
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db, c, proxy
}

func TestCloudSQL(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	if _, err := db.Pool(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.asked) != 0 {
		t.Errorf("asked for %q before a statement", c.asked)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if n, err := ask[int](t.Context(), db, "SELECT 1"); err != nil || n != 1 {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	all.Wait()
	c.set(func() {
		if len(c.asked) != 2 || len(c.logins) != 1 || c.logins[0] != "login" {
			t.Errorf("asked for %q with %q; want each once, with the login token", c.asked, c.logins)
		}
	})

	// The database breaks under the connections and comes back.
	proxy.Break()
	if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) {
		t.Errorf("while it is away: %v", err)
	}
	proxy.Restore()
	for {
		// Connections that broke in the pool are found one by one.
		if n, err := ask[int](t.Context(), db, "SELECT 1"); err == nil && n == 1 {
			break
		} else if !unavailable(err) {
			t.Fatalf("when it is back: %v", err)
		}
	}
}

func TestCloudSQLWithoutTheAdminAPI(t *testing.T) {
	t.Parallel()
	db, c, _ := behindCloudSQL(t)
	c.set(func() { c.down = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := ask[int](ctx, db, "SELECT 1"); !unavailable(err) {
		t.Errorf("while it is away: %v", err)
	}
	c.set(func() { c.down = false })
	for ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second); ; {
		defer cancel()
		n, err := ask[int](ctx, db, "SELECT 1")
		if err == nil && n == 1 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("when it is back: %v", err)
		}
	}
}

func TestCloudSQLCertificateIsRenewedWhenNeeded(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	c.set(func() { c.expires = time.Second }) // at once, by the connector's margin
	for range 3 {
		if _, err := ask[int](t.Context(), db, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		proxy.Break() // so that the next statement takes a new connection
		_, _ = ask[int](t.Context(), db, "SELECT 1")
		proxy.Restore()
	}
	c.set(func() {
		if len(c.logins) < 3 {
			t.Errorf("%d certificates for 3 connections, each after the last had expired", len(c.logins))
		}
	})
}

func TestCloudSQLSettings(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	_, err := postgres.For(newEnv(map[string]string{"DATABASE_INSTANCE": instance, "DATABASE_USER": "u"})).Pool(t.Context())
	if !unavailable(err) || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("without credentials: %v", err)
	}
	db := postgres.NewDatabase(newEnv(map[string]string{"DATABASE_INSTANCE": "no-instance", "DATABASE_USER": "u"}), newCloudSQL(t, "127.0.0.1:1").options()...)
	if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) || !strings.Contains(err.Error(), "no-instance") {
		t.Errorf("a name that is none: %v", err)
	}
}
