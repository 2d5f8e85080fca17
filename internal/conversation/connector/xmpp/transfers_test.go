package xmpp

import (
	"strconv"
	"testing"
)

func TestTransfersAreBoundedAndForgetTheOldest(t *testing.T) {
	var all transfers
	if all.allowed(nil) || all.allowed([]string{"0"}) {
		t.Error("what nobody allowed is allowed")
	}
	for i := range maxTransfers + 10 {
		all.allow(strconv.Itoa(i))
	}
	if len(all.open) != maxTransfers || all.allowed([]string{"9"}) || !all.allowed([]string{"10", strconv.Itoa(maxTransfers + 9)}) {
		t.Errorf("%d are kept", len(all.open))
	}
}

// TestTransfersAreTheSameForBothSides, and the streams inside a Jingle session are named with it.
func TestTransfersAreTheSameForBothSides(t *testing.T) {
	n := parse(t, "<iq><jingle xmlns='urn:xmpp:jingle:1' sid='s'><content><transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='i'/></content></jingle></iq>")
	data := parse(t, "<iq><data xmlns='http://jabber.org/protocol/ibb' sid='i' seq='0'>eA==</data></iq>")
	var all transfers
	all.allow(transfersOf(n, partners{from: "a@x", to: "b@x"})...)
	if !all.allowed(transfersOf(data, partners{from: "b@x", to: "a@x"})) || all.allowed(transfersOf(data, partners{from: "c@x", to: "a@x"})) {
		t.Errorf("%v", all.order)
	}
}
