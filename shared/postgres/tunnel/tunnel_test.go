package tunnel_test

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres/cloudsqltest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/postgres/tunnel"
)

// behind returns the address of a fresh database behind a Cloud SQL instance, and
// the instance.
func behind(t *testing.T) (string, *cloudsqltest.Instance) {
	t.Helper()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := cloudsqltest.New(t, at.Host)
	at.Host, at.RawQuery = "", "host=/cloudsql/"+cloudsqltest.Name
	return at.String(), c
}

func TestClientsReachAnInstance(t *testing.T) {
	t.Parallel()
	address, c := behind(t)
	reached, end, err := tunnel.Open(t.Context(), address, c.PasswordOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(reached)
	folder := u.Query().Get("host")
	if info, err := os.Stat(folder); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the socket's folder: %v, %v", info, err)
	}
	var conns []*pgx.Conn
	for range 2 {
		conn, err := pgx.Connect(t.Context(), reached)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		var two int
		if err := conn.QueryRow(t.Context(), "SELECT 1 + 1").Scan(&two); err != nil || two != 2 {
			t.Errorf("%d, %v", two, err)
		}
	}
	c.Set(func() {
		if len(c.Logins) != 1 || c.Logins[0] != "" {
			t.Errorf("signed in with %q, not with the password alone", c.Logins)
		}
	})
	if err := conns[0].Close(t.Context()); err != nil {
		t.Error(err)
	}
	// The other is still open.
	if err := end(); err != nil {
		t.Error(err)
	}
	if err := conns[1].Ping(t.Context()); err == nil {
		t.Error("a connection outlives the tunnel")
	}
	if _, err := os.Stat(folder); err == nil {
		t.Errorf("%s is still there", folder)
	}
}

func TestOtherAddressesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://u:p@127.0.0.1:5432/d?sslmode=require", "postgresql:///d?host=/var/run"} {
		got, end, err := tunnel.Open(t.Context(), address)
		if err != nil || got != address || end() != nil {
			t.Errorf("%s: %s, %v", address, got, err)
		}
	}
}

func TestWhatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	address, c := behind(t)
	for _, wrong := range []string{"", "host=127.0.0.1 password=hush", "mysql://u:hush@h/d", "postgres://u:hush@h:port/d"} {
		if _, _, err := tunnel.Open(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "must read postgres://") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	c.Set(func() { c.Refuses = 500 })
	_, _, err := tunnel.Open(t.Context(), address, c.PasswordOptions()...)
	if err == nil || !strings.Contains(err.Error(), "reach the instance "+cloudsqltest.Name) {
		t.Errorf("an instance that is not told of: %v", err)
	}
	_, _, err = tunnel.Open(t.Context(), strings.Replace(address, cloudsqltest.Name, "no-instance", 1), c.PasswordOptions()...)
	if err == nil || !strings.Contains(err.Error(), "no-instance") {
		t.Errorf("a name that is none: %v", err)
	}
}

func TestWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	_, _, err := tunnel.Open(t.Context(), "postgres://u:p@/d?host=/cloudsql/"+cloudsqltest.Name)
	if err == nil || !strings.Contains(err.Error(), "gcloud auth application-default login") {
		t.Errorf("without credentials: %v", err)
	}
}

func TestNoFolderForTheSocket(t *testing.T) {
	address, c := behind(t)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if _, _, err := tunnel.Open(t.Context(), address, c.PasswordOptions()...); err == nil {
		t.Error("a socket in no folder")
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	if _, _, err := tunnel.Open(t.Context(), address, c.PasswordOptions()...); err == nil {
		t.Error("a socket with too long a path")
	}
	if left, _ := os.ReadDir(long); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
