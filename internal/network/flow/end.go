package flow

import (
	"net/netip"
	"time"
)

// End is one end of a flow. It is smaller than a netip.AddrPort, has no pointer that a garbage collector would have to follow, and compares by ==.
type End struct {
	addr [16]byte // of IPv4, mapped
	port uint16
	v6   bool
}

// EndOf returns the end that has this address and port. A zone is not on the wire, and left out.
func EndOf(a netip.AddrPort) End { return End{a.Addr().As16(), a.Port(), !a.Addr().Is4()} }

// Addr returns the address.
func (e End) Addr() netip.Addr {
	if e.v6 {
		return netip.AddrFrom16(e.addr)
	}
	return netip.AddrFrom4([4]byte(e.addr[12:]))
}

// Port returns the port, 0 where the protocol has none.
func (e End) Port() uint16 { return e.port }

// AddrPort returns address and port.
func (e End) AddrPort() netip.AddrPort { return netip.AddrPortFrom(e.Addr(), e.port) }

// String returns "address:port", IPv6 in brackets.
func (e End) String() string { return e.AddrPort().String() }

// Moment is a time in nanoseconds since 1970, for the same reasons.
type Moment int64

// MomentOf returns t.
func MomentOf(t time.Time) Moment { return Moment(t.UnixNano()) }

// Time returns the moment as a time, in UTC.
func (m Moment) Time() time.Time { return time.Unix(0, int64(m)).UTC() }
