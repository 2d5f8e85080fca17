package roster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/conversation/connector/xmpp/xmlstream"
)

func iq(t *testing.T, kind, items string) *xmlstream.Node {
	t.Helper()
	n, err := xmlstream.Parse([]byte("<iq type='"+kind+"'><query xmlns='jabber:iq:roster'>"+items+"</query></iq>"), xmlstream.Scope{{URI: "jabber:client"}},
		xmlstream.Limits{Bytes: 1 << 22, Depth: 8, Attributes: 8, Elements: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhoSeesAUser(t *testing.T) {
	var r Roster
	if who, all := r.Watchers(); len(who) > 0 || all {
		t.Error("it knows before it was told")
	}
	r.Take(iq(t, "set", "<item jid='d@x' subscription='from'/>"))
	if who, all := r.Watchers(); !slices.Equal(who, []string{"d@x"}) || all {
		t.Errorf("%v %v", who, all)
	}
	r.Take(iq(t, "result", "<item jid='C@x' subscription='both'/><item jid='b@x' subscription='to'/><item jid='a@x' subscription='from'/><item jid='n@x' subscription='none'/>"))
	if who, all := r.Watchers(); !slices.Equal(who, []string{"a@x", "c@x"}) || !all {
		t.Errorf("%v %v", who, all)
	}
	r.Take(iq(t, "set", "<item jid='b@x' subscription='both'/>"))
	r.Take(iq(t, "set", "<item jid='a@x' subscription='remove'/>"))
	r.Take(&xmlstream.Node{Local: "iq"})
	if who, all := r.Watchers(); !slices.Equal(who, []string{"b@x", "c@x"}) || !all {
		t.Errorf("%v %v", who, all)
	}
}

func TestRostersAreBounded(t *testing.T) {
	var r Roster
	var items strings.Builder
	for i := range maxWatchers + 1 {
		fmt.Fprintf(&items, "<item jid='u%d@x' subscription='both'/>", i)
	}
	r.Take(iq(t, "result", items.String()))
	if who, all := r.Watchers(); len(who) != maxWatchers || all {
		t.Errorf("%d, all %v", len(who), all)
	}
}
