package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func TestClientIsWhomTrustedProxiesSaw(t *testing.T) {
	t.Parallel()
	direct, gateway, balancer := httpapi.Proxies{}, httpapi.Proxies{Hops: 1}, httpapi.Proxies{Hops: 2}
	header := httpapi.Proxies{Hops: 1, Header: "X-Client-Address"}
	for name, test := range map[string]struct {
		proxies   httpapi.Proxies
		remote    string
		forwarded []string // X-Forwarded-For
		client    []string // X-Client-Address
		want      string   // "" is unknown
	}{
		"direct":                          {direct, "192.0.2.1:4711", nil, nil, "192.0.2.1"},
		"direct, and says otherwise":      {direct, "192.0.2.1:4711", []string{"198.51.100.7"}, []string{"198.51.100.7"}, "192.0.2.1"},
		"direct, IPv6":                    {direct, "[2001:db8::1]:4711", nil, nil, "2001:db8::1"},
		"direct, IPv6 with a zone":        {direct, "[fe80::1%eth0]:4711", nil, nil, "fe80::1"},
		"direct, IPv4 in IPv6":            {direct, "[::ffff:192.0.2.1]:4711", nil, nil, "192.0.2.1"},
		"no network":                      {direct, "in-process", nil, nil, ""},
		"gateway":                         {gateway, "10.0.0.1:1", []string{"192.0.2.1"}, nil, "192.0.2.1"},
		"gateway, spoofed":                {gateway, "10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9, 192.0.2.1"}, nil, "192.0.2.1"},
		"gateway, spoofed in a header":    {gateway, "10.0.0.1:1", []string{"198.51.100.7", "192.0.2.1"}, nil, "192.0.2.1"},
		"gateway, several in one":         {gateway, "10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9", " 192.0.2.1 "}, nil, "192.0.2.1"},
		"gateway, IPv6":                   {gateway, "10.0.0.1:1", []string{"2001:DB8:0::1"}, nil, "2001:db8::1"},
		"gateway, IPv6 in brackets":       {gateway, "10.0.0.1:1", []string{"[2001:db8::1]"}, nil, "2001:db8::1"},
		"gateway, with ports":             {gateway, "10.0.0.1:1", []string{"[2001:db8::1]:443"}, nil, "2001:db8::1"},
		"gateway, IPv4 with a port":       {gateway, "10.0.0.1:1", []string{"192.0.2.1:443"}, nil, "192.0.2.1"},
		"gateway, private":                {gateway, "10.0.0.1:1", []string{"10.1.2.3"}, nil, "10.1.2.3"},
		"gateway, nothing":                {gateway, "10.0.0.1:1", nil, nil, ""},
		"gateway, empty":                  {gateway, "10.0.0.1:1", []string{""}, nil, ""},
		"gateway, broken":                 {gateway, "10.0.0.1:1", []string{"192.0.2.1, unknown"}, nil, ""},
		"gateway, ends in a comma":        {gateway, "10.0.0.1:1", []string{"192.0.2.1,"}, nil, ""},
		"gateway, leading zeros":          {gateway, "10.0.0.1:1", []string{"192.0.2.010"}, nil, ""},
		"load balancer":                   {balancer, "10.0.0.1:1", []string{"192.0.2.1, 203.0.113.80"}, nil, "192.0.2.1"},
		"load balancer, spoofed":          {balancer, "10.0.0.1:1", []string{"198.51.100.7, 192.0.2.1, 203.0.113.80"}, nil, "192.0.2.1"},
		"load balancer that was passed":   {balancer, "10.0.0.1:1", []string{"192.0.2.1"}, nil, ""},
		"a header":                        {header, "10.0.0.1:1", []string{"198.51.100.7"}, []string{"192.0.2.1"}, "192.0.2.1"},
		"a header, twice":                 {header, "10.0.0.1:1", []string{"198.51.100.7"}, []string{"198.51.100.7", "192.0.2.1"}, ""},
		"a header that nobody has set":    {header, "10.0.0.1:1", []string{"198.51.100.7"}, nil, ""},
		"a header that is no one address": {header, "10.0.0.1:1", nil, []string{"192.0.2.1, 192.0.2.2"}, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = test.remote
		r.Header["X-Forwarded-For"], r.Header["X-Client-Address"] = test.forwarded, test.client
		want := netip.Addr{}
		if test.want != "" {
			want = netip.MustParseAddr(test.want)
		}
		if got := test.proxies.Client(r); got != want {
			t.Errorf("%s: %s, want %q", name, got, test.want)
		}
	}
}

// A real proxy in front appends what it saw, whatever the client has sent.
func TestClientBehindARealProxy(t *testing.T) {
	t.Parallel()
	var seen netip.Addr
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) { seen = httpapi.ClientOf(r.Context()) })
	inner := httptest.NewServer(httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{Proxies: httpapi.Proxies{Hops: 1}}))
	defer inner.Close()
	target, err := url.Parse(inner.URL)
	if err != nil {
		t.Fatal(err)
	}
	outer := httptest.NewServer(httputil.NewSingleHostReverseProxy(target))
	defer outer.Close()
	r := request(t, "GET", outer.URL+"/", nil, "X-Forwarded-For", "198.51.100.7")
	if answer, body := do(t, r); answer.StatusCode != 200 || seen != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%d %s: the client is %s", answer.StatusCode, body, seen)
	}
}

func TestProxiesAreANumber(t *testing.T) {
	t.Parallel()
	for _, hops := range []string{"", "-1", "11", "one", "1.5"} {
		if _, err := httpapi.ParseProxies(hops, ""); err == nil || !strings.Contains(err.Error(), "TRUSTED_PROXIES") {
			t.Errorf("%q: %v", hops, err)
		}
	}
	if got, err := httpapi.ParseProxies("2", "X"); err != nil || got != (httpapi.Proxies{Hops: 2, Header: "X"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzClient holds that whatever comes in from the left decides nothing.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{"", "198.51.100.7", "a, b", ",,,", "[::1]:80", "\x00", "198.51.100.7,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, forged string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["X-Forwarded-For"] = []string{forged, "192.0.2.1"}
		if got := (httpapi.Proxies{Hops: 1}).Client(r); got != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%q makes the client %s", forged, got)
		}
	})
}
