package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddr is the address of who asks. Proxies that we trust tell it in
// X-Forwarded-For, where everybody adds whom they got the request from at the end:
// so it is the last one there that is no proxy of ours. What stands before it can be
// made up.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	client := peer(r)
	if s.trusted(client) && len(r.Header.Values("X-Forwarded-For")) == 0 && s.secure() {
		s.noForwardedFor.Do(func() {
			s.cfg.Log.Warn("a proxy of TRUSTED_PROXIES sends no X-Forwarded-For: everybody behind it shares one limit", "proxy", client.String())
		})
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !s.trusted(client) {
			break
		}
		next, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break
		}
		client = next
	}
	return client
}

// peer is who has connected to us.
func peer(r *http.Request) netip.Addr {
	a, _ := parseHop(r.RemoteAddr) // the zero Addr is nobody's
	return a
}

// parseHop reads an address, with a port or without one.
func parseHop(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = withPort.Addr()
	}
	return a.Unmap().WithZone(""), true
}

func (s *Server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// fromOperator tells a request that comes from this machine or a private network,
// and not through a proxy.
func (s *Server) fromOperator(r *http.Request) bool {
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(header)) > 0 {
			return false
		}
	}
	a := peer(r)
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
