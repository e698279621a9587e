package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// Proxies says how a request's client is told apart from what the request passed
// through. Only what trusted proxies have written is believed: a client may send
// any X-Forwarded-For, and each proxy appends to it the address that it saw.
type Proxies struct {
	Hops   int    // how many of ours append to X-Forwarded-For; with 0 the connection itself is the client's
	Header string // a header that our proxy sets to the client's address, in place of Hops
}

// ParseProxies reads the settings TRUSTED_PROXIES and CLIENT_ADDRESS_HEADER.
func ParseProxies(hops, header string) (Proxies, error) {
	n, err := strconv.Atoi(hops)
	if err != nil || n < 0 || n > 10 {
		return Proxies{}, fmt.Errorf("TRUSTED_PROXIES must be a whole number from 0 to 10, not %q", hops)
	}
	return Proxies{Hops: n, Header: header}, nil
}

// Client returns the address of the client, without a zone and with IPv4 as such;
// the zero address where it cannot be told. Those who limit by address must put
// all who have none into one bucket, never set them free.
func (p Proxies) Client(r *http.Request) netip.Addr {
	switch {
	case p.Header != "":
		values := r.Header.Values(p.Header)
		if len(values) != 1 { // our proxy sets one; who sends another wants to be somebody else
			return netip.Addr{}
		}
		return parseAddress(values[0])
	case p.Hops == 0:
		return parseAddress(r.RemoteAddr)
	}
	// Several headers are one list (RFC 9110, section 5.3).
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if len(entries) < p.Hops {
		return netip.Addr{}
	}
	return parseAddress(entries[len(entries)-p.Hops])
}

// parseAddress reads an address with or without a port: 192.0.2.1,
// 192.0.2.1:443, 2001:db8::1, [2001:db8::1]:443.
func parseAddress(text string) netip.Addr {
	text = strings.TrimSpace(text)
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}
		}
		address = withPort.Addr()
	}
	return address.Unmap().WithZone("")
}

// ClientOf returns the address of the client of the request that ctx belongs to;
// the zero address where it is not known.
func ClientOf(ctx context.Context) netip.Addr { return recordOf(ctx).client }
