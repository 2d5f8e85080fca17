package shape

import "strings"

// The tables say what may stand where and say nothing: a namespace, its elements, and behind the bar which attributes they may have, each with
// its form (see Fits); "text" is their character data. An attribute that is not named is words, and so is what does not fit its form.
const (
	inMessages = `
http://jabber.org/protocol/chatstates active composing paused inactive gone
urn:xmpp:hints no-store no-permanent-store no-copy store
urn:xmpp:jingle-message:0 propose accept proceed reject retract ringing finish migrated | id:id to:id
urn:xmpp:jingle-message:1 propose accept proceed reject retract ringing finish migrated | id:id to:id
urn:xmpp:jingle:apps:rtp:1 description | media:=audio|video
urn:ietf:params:xml:ns:xmpp-stanzas bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found jid-malformed not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect registration-required remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required undefined-condition unexpected-request text | by:jid
jabber:client error | type:=auth|cancel|continue|modify|wait code:code by:jid
http://jabber.org/protocol/muc#user x reason password
http://jabber.org/protocol/muc#user invite decline | to:jid from:jid
http://jabber.org/protocol/muc#user continue | thread:id
http://jabber.org/protocol/muc#user status | code:code
http://jabber.org/protocol/muc#user item actor | affiliation:=owner|admin|member|outcast|none role:=moderator|participant|visitor|none jid:jid
jabber:x:event x offline delivered displayed composing id | text:id
jabber:x:oob x url desc
jabber:x:conference x | jid:jid thread:id continue:=true|false|1|0
jabber:x:delay x | from:jid stamp:stamp
urn:xmpp:delay delay | from:jid stamp:stamp
urn:xmpp:idle:1 idle | since:stamp
urn:xmpp:receipts request
urn:xmpp:receipts received | id:id
urn:xmpp:chat-markers:0 markable
urn:xmpp:chat-markers:0 received displayed acknowledged | id:id sender:jid
urn:xmpp:attention:0 attention
urn:xmpp:carbons:2 private
http://jabber.org/protocol/nick nick
http://jabber.org/protocol/address addresses
http://jabber.org/protocol/address address | type:=to|cc|bcc|noreply|replyroom|replyto|ofrom jid:jid
urn:xmpp:sid:0 origin-id | id:id
urn:xmpp:sid:0 stanza-id | id:id by:jid
urn:xmpp:occupant-id:0 occupant-id | id:id
urn:xmpp:reactions:0 reactions | id:id
urn:xmpp:message-correct:0 replace | id:id
urn:xmpp:message-retract:0 retract | id:id
urn:xmpp:message-retract:1 retract | id:id
urn:xmpp:fasten:0 apply-to | id:id
urn:xmpp:reply:0 reply | id:id to:jid
urn:xmpp:fallback:0 fallback | for:known
urn:xmpp:feature-fallback:0 fallback | for:known
urn:xmpp:fallback:0 body subject | start:short end:short
urn:xmpp:feature-fallback:0 body subject | start:short end:short
urn:xmpp:reference:0 reference | begin:short end:short type:=mention|data uri:uri anchor:uri
urn:xmpp:eme:0 encryption | namespace:known name:=OMEMO|OpenPGP|OTR|PGP
`
	inPresences = `
jabber:client show | text:=chat|away|xa|dnd
jabber:client priority | text:priority
jabber:client status
vcard-temp:x:update x
vcard-temp:x:update photo | text:sha1
http://jabber.org/protocol/caps c | hash:=md5|sha-1|sha-224|sha-256|sha-384|sha-512|sha3-256|sha3-512|blake2b-256|blake2b-512 node:node ver:version
http://jabber.org/protocol/muc x
http://jabber.org/protocol/muc password | text:id
http://jabber.org/protocol/muc history | maxchars:short maxstanzas:short seconds:number since:stamp
http://jabber.org/protocol/muc#user item | affiliation:=owner|admin|member|outcast|none role:=moderator|participant|visitor|none jid:jid nick:nick
urn:xmpp:pars:0 preauth | token:id
`
	inIQs = `
urn:xmpp:ping ping
jabber:iq:version query name version os
jabber:iq:last query | seconds:number
urn:xmpp:time time tzo
urn:xmpp:time utc | text:stamp
vcard-temp vCard
http://jabber.org/protocol/disco#info query | node:node
http://jabber.org/protocol/disco#info identity | category:node type:node
http://jabber.org/protocol/disco#info feature | var:node
http://jabber.org/protocol/disco#items query | node:node
http://jabber.org/protocol/disco#items item | jid:jid node:node
http://jabber.org/protocol/bytestreams query | sid:id dstaddr:id mode:=tcp|udp
http://jabber.org/protocol/bytestreams streamhost-used activate | jid:jid text:jid
http://jabber.org/protocol/ibb close | sid:id
http://jabber.org/protocol/ibb data | sid:id seq:short
http://jabber.org/protocol/muc#admin query reason
http://jabber.org/protocol/muc#admin item | affiliation:=owner|admin|member|outcast|none role:=moderator|participant|visitor|none jid:jid nick:nick
http://jabber.org/protocol/muc#owner query
http://jabber.org/protocol/muc#owner destroy | jid:jid
http://jabber.org/protocol/pubsub pubsub publish-options
http://jabber.org/protocol/pubsub items publish subscribe unsubscribe retract create configure | node:node max_items:short jid:jid subid:id notify:=true|false|1|0
http://jabber.org/protocol/pubsub item | id:item publisher:jid
http://jabber.org/protocol/pubsub#owner pubsub
http://jabber.org/protocol/pubsub#owner configure delete | node:node
jabber:x:data x | type:=cancel|form|result|submit
jabber:x:data field | var:node type:=boolean|fixed|hidden|jid-multi|jid-single|list-multi|list-single|text-multi|text-private|text-single
jabber:x:data value
`
	inAnswers = `
jabber:iq:version name version os | text:label
urn:xmpp:time tzo | text:label
http://jabber.org/protocol/disco#info identity | category:node type:node name:label
http://jabber.org/protocol/disco#items item | jid:jid node:node name:label
http://jabber.org/protocol/ibb data | sid:id seq:short text:label
jabber:x:data value | text:label
`
	inPublic = `
jabber:x:data value | text:node
eu.siacs.conversations.axolotl list bundle prekeys
eu.siacs.conversations.axolotl device | id:number
eu.siacs.conversations.axolotl signedPreKeyPublic | signedPreKeyId:number text:key
eu.siacs.conversations.axolotl preKeyPublic | preKeyId:number text:key
eu.siacs.conversations.axolotl signedPreKeySignature identityKey | text:key
urn:xmpp:omemo:2 devices bundle prekeys
urn:xmpp:omemo:2 device | id:number
urn:xmpp:omemo:2 spk pk | id:number text:key
urn:xmpp:omemo:2 spks ik | text:key
urn:xmpp:avatar:metadata metadata pointer
urn:xmpp:avatar:metadata info | id:sha1 type:=image/png|image/jpeg|image/gif|image/webp|image/svg+xml bytes:number width:short height:short
urn:xmpp:mds:displayed:0 displayed
`
)

// Where a stanza is read, and, of an iq, as far as others can read it.
const (
	Anywhere  = "anywhere" // in messages, and within all others
	Presences = "presence"
	Exchanges = "iq"
	ToPeer    = "peer"   // to another person's client or account, as a question or an order
	ToAsker   = "asker"  // to another person's client, as an answer
	ToPublic  = "public" // to an account or a service that shows it to others
)

// tables never change.
var tables = map[string]map[string]string{
	Anywhere: table(inMessages), Presences: table(inPresences), Exchanges: table(inIQs), ToAsker: table(inAnswers), ToPublic: table(inPublic),
}

func table(lines string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(lines) {
		names, shape, _ := strings.Cut(line, " | ")
		parts := strings.Fields(names)
		for i := 1; i < len(parts); i++ {
			out[parts[0]+" "+parts[i]] = strings.TrimSpace(shape)
		}
	}
	return out
}

// Known returns every element that is known there and nowhere more general, with its shape.
func Known(where string) map[string]string {
	out := make(map[string]string, len(tables[where]))
	for name, shape := range tables[where] {
		out[name] = shape
	}
	return out
}

// Of returns which attributes an element of a message may have, and of which form, for it to say nothing: "name:form …", where the name
// "text" is its character data. What is not in its known shape is words, and elements that are not here are words with their names.
func Of(name string) (string, bool) { return first(name, Anywhere) }

// Presence is Of for what stands in a presence.
func Presence(name string) (string, bool) { return first(name, Presences, Anywhere) }

// IQ is Of for what stands in an iq: the exchanges that clients need. Names of programs may be told in answers, briefly.
func IQ(name, reach string) (string, bool) {
	if reach == "" {
		return Of(name)
	}
	return first(name, reach, Exchanges, Anywhere)
}

func first(name string, in ...string) (string, bool) {
	for _, where := range in {
		if shape, ok := tables[where][name]; ok {
			return shape, true
		}
	}
	return "", false
}

// Form finds the form of an attribute, or of "text", in a shape.
func Form(shape, name string) string {
	for f := range strings.FieldsSeq(shape) {
		if of, form, _ := strings.Cut(f, ":"); of == name {
			return form
		}
	}
	return ""
}
