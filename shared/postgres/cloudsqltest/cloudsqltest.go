// Package cloudsqltest gives tests a Cloud SQL instance: what its connector meets,
// on this machine, before a database of theirs.
package cloudsqltest

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
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/cloudsqlconn"
	"golang.org/x/oauth2"
)

// Instance is a Cloud SQL instance as its connector meets it: the Admin API that
// tells of it and signs certificates, and a TLS listener before the database that
// lets in whoever has one.
type Instance struct {
	api      *httptest.Server
	listener net.Listener
	server   authority // of the instance
	client   authority // of those who may connect

	mu sync.Mutex
	// What follows is read and changed through Set.
	Refuses      int           // the status that the API answers with, 0 for none
	Unreachable  bool          // nobody listens at the instance's address
	Asked        []string      // what the API was asked for
	Logins       []string      // tokens that came with requests for a certificate, "" without IAM authentication
	Expires      time.Duration // how long certificates are good
	TokenExpires time.Duration // how long login tokens are: login 1, login 2
	tokens       int
}

// Name is what the connector calls the instance.
const Name = "project:region:instance"

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

// New returns an instance whose database is at address, a host and port.
func New(t testing.TB, address string) *Instance {
	t.Helper()
	c := &Instance{server: newAuthority(t, "server"), client: newAuthority(t, "client"), Expires: time.Hour, TokenExpires: time.Hour}
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
func (c *Instance) admin(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what, found := strings.CutPrefix(r.URL.Path, "/sql/v1beta4/projects/project/instances/instance")
	if !found {
		http.NotFound(w, r)
		return
	}
	c.Asked = append(c.Asked, what)
	if c.Refuses != 0 {
		w.WriteHeader(c.Refuses)
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
	c.Logins = append(c.Logins, in.AccessToken)
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
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(c.Expires),
	}, key)
	_ = json.NewEncoder(w).Encode(map[string]any{"ephemeralCert": map[string]string{"cert": pemOf(cert)}})
}

// Set reads or changes c while nobody else does.
func (c *Instance) Set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Options point the connector at this instance, for whom signs in as an account.
func (c *Instance) Options() []cloudsqlconn.Option {
	return append(c.options(), cloudsqlconn.WithIAMAuthNTokenSources(token("api"), logins{c}))
}

// PasswordOptions point the connector at this instance, for whom signs in with a
// password.
func (c *Instance) PasswordOptions() []cloudsqlconn.Option {
	return append(c.options(), cloudsqlconn.WithTokenSource(token("api")))
}

// logins give each who asks another token.
type logins struct{ c *Instance }

func (l logins) Token() (token *oauth2.Token, err error) {
	l.c.Set(func() {
		l.c.tokens++
		token = &oauth2.Token{AccessToken: fmt.Sprint("login ", l.c.tokens), Expiry: time.Now().Add(l.c.TokenExpires)}
	})
	return token, nil
}

func token(value string) oauth2.TokenSource {
	return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: value, Expiry: time.Now().Add(time.Hour)})
}

func (c *Instance) options() []cloudsqlconn.Option {
	return []cloudsqlconn.Option{
		cloudsqlconn.WithHTTPClient(c.api.Client()),
		cloudsqlconn.WithAdminAPIEndpoint(c.api.URL),
		// The port of an instance is fixed; this listener's is not.
		cloudsqlconn.WithDialFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "192.0.2.1:3307" {
				return nil, errors.New("not the instance's address: " + address)
			}
			var unreachable bool
			if c.Set(func() { unreachable = c.Unreachable }); unreachable {
				return nil, errors.New("nobody listens at " + address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, c.listener.Addr().String())
		}),
	}
}
