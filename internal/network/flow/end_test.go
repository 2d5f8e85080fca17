package flow

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
	"unsafe"
)

// TestEnds: what goes in comes out, and an IPv4 address is another end than the IPv6 address that is made of it.
func TestEnds(t *testing.T) {
	for _, s := range []string{"192.0.2.1:443", "[2001:db8::1]:5222", "[::ffff:192.0.2.1]:443", "0.0.0.0:0", "[::]:0"} {
		a := netip.MustParseAddrPort(s)
		e := EndOf(a)
		if e.AddrPort() != a || e.Addr() != a.Addr() || e.Port() != a.Port() || e.String() != s {
			t.Errorf("%s became %s", s, e)
		}
	}
	if EndOf(netip.MustParseAddrPort("192.0.2.1:443")) == EndOf(netip.MustParseAddrPort("[::ffff:192.0.2.1]:443")) {
		t.Error("IPv4 and IPv6 are one end")
	}
	if got := EndOf(netip.MustParseAddrPort("[fe80::1%eth0]:1")).String(); got != "[fe80::1]:1" {
		t.Errorf("with a zone it is %s", got)
	}
	f := Flow{Client: EndOf(netip.MustParseAddrPort("192.0.2.1:1")), Server: EndOf(netip.MustParseAddrPort("192.0.2.2:2"))}
	ends := f.Ends()
	if !f.Has(ends[0]) || !f.Has(ends[1]) || f.Has(netip.MustParseAddrPort("192.0.2.1:2")) {
		t.Errorf("the ends of %s and %s are %v", f.Client, f.Server, ends)
	}
}

func TestMoments(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Date(2026, 11, 25, 19, 30, 0, 123456789, time.FixedZone("", 3600)), time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := MomentOf(at).Time(); !got.Equal(at) || got.Location() != time.UTC {
			t.Errorf("%s became %s", at, got)
		}
	}
}

// TestFlowsAreSmall: two cache lines, in which a garbage collector finds nothing to follow; and a line for what decoders keep.
func TestFlowsAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(Flow{}); size > 128 {
		t.Errorf("a flow takes %d bytes", size)
	}
	var pointers func(path string, of reflect.Type)
	pointers = func(path string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Struct:
			for i := range of.NumField() {
				pointers(path+"."+of.Field(i).Name, of.Field(i).Type)
			}
		case reflect.Array:
			pointers(path, of.Elem())
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.String, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
			t.Errorf("%s is a %s", path, of.Kind())
		}
	}
	pointers("Flow", reflect.TypeFor[Flow]())
	if tcpSize > 64 || udpSize > 64 || streamSize > 64 {
		t.Errorf("what decoders keep takes %d bytes of TCP, %d for each side, %d of UDP", tcpSize, streamSize, udpSize)
	}
}
