package xmpp

import "strings"

// Namespaces that the gateway knows.
const (
	nsClient   = "jabber:client"
	nsStream   = "http://etherx.jabber.org/streams"
	nsTLS      = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsSASL2    = "urn:xmpp:sasl:2"
	nsBind     = "urn:ietf:params:xml:ns:xmpp-bind"
	nsStanzas  = "urn:ietf:params:xml:ns:xmpp-stanzas"
	nsStreams  = "urn:ietf:params:xml:ns:xmpp-streams"
	nsSM       = "urn:xmpp:sm:3"
	nsCompress = "http://jabber.org/protocol/compress"
	nsMUC      = "http://jabber.org/protocol/muc"
	nsMUCUser  = "http://jabber.org/protocol/muc#user"
	nsCarbons  = "urn:xmpp:carbons:2"
	nsForward  = "urn:xmpp:forward:0"
	nsStanzaID = "urn:xmpp:sid:0"
	nsOccupant = "urn:xmpp:occupant-id:0"
	nsUpload   = "urn:xmpp:http:upload:0"
	nsJingle   = "urn:xmpp:jingle:1"
	nsIBB      = "http://jabber.org/protocol/ibb"

	nsBytestreams = "http://jabber.org/protocol/bytestreams"
)

// bareJID cuts the resource off.
func bareJID(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return strings.ToLower(bare)
}

func resource(jid string) string {
	_, r, _ := strings.Cut(jid, "/")
	return r
}

// domainOf returns the domain of a JID.
func domainOf(jid string) string {
	bare := bareJID(jid)
	if _, domain, ok := strings.Cut(bare, "@"); ok {
		return domain
	}
	return bare
}
