package server

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// peer returns the address that a request comes from: that of the connection, unless it is one of the trusted
// proxies. Then it is the right-most address of X-Forwarded-For that is none of them; what stands further left
// anybody can write.
func peer(r *http.Request, trusted []netip.Prefix) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	address := at.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(address, trusted); i-- {
		hop, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		address = hop
	}
	return address.String()
}

// parseHop reads an address of X-Forwarded-For, which some proxies write with a port.
func parseHop(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		var with netip.AddrPort
		with, err = netip.ParseAddrPort(text)
		address = with.Addr()
	}
	return address.Unmap().WithZone(""), err
}

func isTrusted(address netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// How often one address may try keys in vain before it has to wait.
const (
	maxLoginFailures = 10
	loginWindow      = time.Minute
	maxLoginPeers    = 4096 // addresses that are remembered
)

// loginPeer returns who is meant by an address: of IPv6 a whole /64, which one host has for itself.
func loginPeer(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return address
}

// loginFailures counts the vain logins of each peer in the last minute.
type loginFailures struct {
	mu    sync.Mutex
	peers map[string][]time.Time // ascending
}

// wait returns how long the address has to wait before another try; 0: it may try now.
func (f *loginFailures) wait(address string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	times := recent(f.peers[loginPeer(address)], now)
	if len(times) < maxLoginFailures {
		return 0
	}
	return times[len(times)-maxLoginFailures].Add(loginWindow).Sub(now)
}

// note counts a vain try.
func (f *loginFailures) note(address string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.peers == nil {
		f.peers = map[string][]time.Time{}
	}
	if len(f.peers) >= maxLoginPeers {
		for other, times := range f.peers {
			if len(recent(times, now)) == 0 || len(f.peers) >= maxLoginPeers {
				delete(f.peers, other)
			}
		}
	}
	peer := loginPeer(address)
	f.peers[peer] = append(recent(f.peers[peer], now), now)
}

// recent returns those of times that still count.
func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) >= loginWindow {
		times = times[1:]
	}
	return times
}
