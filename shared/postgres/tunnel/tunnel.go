// Package tunnel leads programs that know PostgreSQL and not Cloud SQL to an
// instance, by a socket that only their user can open. Functions need none: their
// pool dials the instance itself.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"cloud.google.com/go/cloudsqlconn"
)

// mounted is where Cloud Run puts the sockets of instances, and so how an address
// names one: postgres://USER:PASSWORD@/NAME?host=/cloudsql/PROJECT:REGION:INSTANCE
const mounted = "/cloudsql/"

// Open returns an address at which any client reaches the database at address, and
// what closes the way there. An address that names no Cloud SQL instance is
// returned as it is. The errors repeat no password.
func Open(ctx context.Context, address string, options ...cloudsqlconn.Option) (string, func() error, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", nil, errors.New("the database's address must read postgres://USER:PASSWORD@HOST/NAME")
	}
	query := u.Query()
	instance, found := strings.CutPrefix(query.Get("host"), mounted)
	if !found {
		return address, func() error { return nil }, nil
	}
	if _, err := os.Stat(query.Get("host")); err == nil {
		return address, func() error { return nil }, nil // where Cloud Run has it
	}
	dialer, err := cloudsqlconn.NewDialer(ctx, options...)
	if err != nil {
		return "", nil, fmt.Errorf("reach the instance %s: %w; sign in with: gcloud auth application-default login", instance, err)
	}
	// Once beforehand: a client would only be told that the connection ended.
	conn, err := dialer.Dial(ctx, instance)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("reach the instance %s: %w", instance, err), dialer.Close())
	}
	_ = conn.Close()
	w, err := listen(dialer, instance)
	if err != nil {
		return "", nil, errors.Join(err, dialer.Close())
	}
	query.Set("host", w.folder)
	query.Set("sslmode", "disable") // the dialer encrypts
	u.RawQuery = query.Encode()
	return u.String(), w.close, nil
}

// way is an open tunnel.
type way struct {
	dialer   *cloudsqlconn.Dialer
	instance string
	folder   string // of the socket, which its user alone may enter
	listener net.Listener
	serving  sync.WaitGroup
	end      context.CancelFunc
}

func listen(dialer *cloudsqlconn.Dialer, instance string) (*way, error) {
	folder, err := os.MkdirTemp("", "pg") // short: a socket's path has 107 bytes at most
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", filepath.Join(folder, ".s.PGSQL.5432"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	ctx, end := context.WithCancel(context.Background())
	w := &way{dialer: dialer, instance: instance, folder: folder, listener: listener, end: end}
	w.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			w.serving.Go(func() { w.serve(ctx, client) })
		}
	})
	return w, nil
}

// serve joins a client with a connection of its own until either ends.
func (w *way) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	database, err := w.dialer.Dial(ctx, w.instance)
	if err != nil {
		return
	}
	defer func() { _ = database.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = database.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(database, client); _ = database.Close() })
	both.Go(func() { _, _ = io.Copy(client, database); _ = client.Close() })
	both.Wait()
}

// close ends the connections too: whoever still has one is done.
func (w *way) close() error {
	err := w.listener.Close()
	w.end()
	w.serving.Wait()
	return errors.Join(err, w.dialer.Close(), os.RemoveAll(w.folder))
}
