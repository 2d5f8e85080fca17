package shape

import (
	"net/netip"
	"strings"
	"unicode"
)

// terms are the words of which the names of protocols, features, hosts and programs are made. They say nothing, and are all that can be written
// without being counted.
const terms = `
http https urn www org com net im io de ch eu example github xmpp jabber client server component conference rooms room muc chat upload proxy pubsub
protocol protocols ietf params xml ns rfc siacs conversations axolotl omemo openpgp encrypted devicelist bundles whitelisted notify iq x disco info items caps
commands command rosterx roster exchange nick mood activity tune geoloc gaming chatting avatar metadata data bookmarks storage private vcard temp update
version time last ping receipts chatstates markers marker correct retract reactions reply fallback reference references hints styling message messages
moderation moderate archive mam sid sm carbons csi push register blocking block attention delay idle oob conference event events offline
jingle jinglepub apps transports rtp audio video rtcp fb hdrext dtls sctp grouping ssma zrtp errors ice udp tcp raw bytestreams socks ibb si profile
file transfer stream streams si feature neg features stanza occupant identity identities bob thumbs sfs encryption eme signed mds displayed microblog mix core
muji call calls invite invites external services service extdisco feature form forms owner admin user users config roomconfig roominfo publish options
publishing model access type persist item max deliver payloads persistent persistentroom membersonly moderated moderatedroom passwordprotected passwordprotectedroom passwordprotect public publicroom hidden open
unmoderated nonanonymous semianonymous unsecured temporary whois roomname roomdesc roomsecret enable logging changesubject allowinvites maxusers maxhistoryfetch lang getmemberlist
presencebroadcast defaulthistory subscribe subscriptions collections instant node nodes delete purge auto create bookmark multi outcast member members affiliations
retrieve default filtered leased manage subscription stable stanzas address addresses pars preauth ver sasl bind session rpc search last software os ip amp tls eventlogging
pc phone web console bot handheld tablet game sms account registered anonymous gateway directory automation collaboration whitelist authorize presence true false text
initiator responder initiate accept terminate creator senders both content contents name description transport action reason candidate candidates candidatepair
component foundation generation network port priority rel addr ufrag pwd fingerprint hash setup active passive actpass host srflx prflx relay payload clockrate channels ptime maxptime
parameter parameters value source ssrc group semantics bundle goog remb transport cc nack pli fir ccm trr int mid sdes send recv extmap abs toffset webrtc experiments
opus minptime useinbandfec stereo telephone h264 vp8 vp9 av1 rtx apt level asymmetry allowed packetization mode red ulpfec cname msid mslabel label initiator
alternative busy cancel connectivity error decline expired failed application applications general gone incompatible media security success timeout unsupported trickle
replace reject modify add remove unavailable ringing hold unhold mute unmute required unknown crypto suite tag key params inline session disposition
gajim dino conversations pidgin psi plus swift monal profanity poezio kaidan movim converse conversejs spark smack adium miranda xabber siskin beagle yaxim cheogram monocles blabber
android ios macos linux windows desktop mobile telepathy freedesktop igniterealtime libpurple purple`

// vocabulary never changes.
var vocabulary = func() map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(terms) {
		out[w] = true
	}
	return out
}()

// Node reports whether a value is the name of a thing of machines: a URI, a namespace, a node with a digest behind "#", a candidate's address. What
// is left without the words that such names are made of must be an id.
func Node(v string) bool {
	name, version, _ := strings.Cut(v, "#")
	return Token(v) && (plainID(name) || random(name)) && (plainID(version) || digest("version", version))
}

func plainID(v string) bool {
	if _, err := netip.ParseAddr(v); err == nil || pairs(v) {
		return true
	}
	return ID(rest(v))
}

// pairs reports whether a value is a fingerprint: hexadecimal bytes with colons.
func pairs(v string) bool {
	for i, r := range v {
		if (r == ':') != (i%3 == 2) || r != ':' && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return len(v)%3 == 2 && len(v) >= 47
}

// rest returns a value without the words that names of protocols, hosts and programs are made of.
func rest(v string) string {
	var b strings.Builder
	for piece := range strings.FieldsFuncSeq(v, separates) {
		if !vocabulary[strings.ToLower(piece)] {
			if b.Len() > 0 {
				b.WriteByte('-')
			}
			b.WriteString(piece)
		}
	}
	return b.String()
}

const (
	maxNameBytes   = 32
	maxNameLetters = 24
	maxNameDigits  = 8
)

// Name reports whether a value can be the name of a person or a host: two words, in any script, and no number that means something.
func Name(v string) bool {
	words, letters := Weight(v)
	return len(v) <= maxNameBytes && words <= maxIDWords && letters <= maxNameLetters && Digits(v) <= maxNameDigits &&
		!strings.ContainsFunc(v, unicode.IsControl)
}

// Weight counts the words in a value that are none of machines, and their letters.
func Weight(v string) (words, letters int) {
	if random(v) {
		return 0, 0
	}
	for piece := range strings.FieldsFuncSeq(v, func(r rune) bool { return separates(r) || !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if vocabulary[strings.ToLower(piece)] || strings.Trim(piece, "0123456789abcdefABCDEF") == "" && Digits(piece) > 0 {
			continue
		}
		w, l := wordsIn(piece)
		if strings.ContainsFunc(piece, func(r rune) bool { return r > unicode.MaxASCII }) {
			w, l = 1, len([]rune(piece))
		}
		words, letters = words+w, letters+l
	}
	return words, letters
}

// mixed reports whether a long value changes between capitals, small letters and digits as chance does, and has as few vowels.
func mixed(v string) bool {
	changes, vowels, letters := 0, 0, 0
	var last rune
	for _, r := range v {
		switch {
		case last == 0:
		case unicode.IsDigit(r) != unicode.IsDigit(last), unicode.IsUpper(r) && unicode.IsLower(last):
			changes++
		}
		if unicode.IsLetter(r) {
			letters++
		}
		if strings.ContainsRune("aeiouyAEIOUY", r) {
			vowels++
		}
		last = r
	}
	return 5*changes >= len(v) && 20*vowels <= 7*letters
}

// Free says how much of a value its writer could choose, as far as its form lets it pass: bytes, and letters of words.
func Free(form, v string) (size, letters int) {
	switch {
	case strings.HasPrefix(form, "="), form == "known", form == "label": // labels have a bound of their own
		return 0, 0
	case form == "node", form == "uri", form == "jid", form == "item":
		size = len(rest(v))
	default:
		size = len(v)
	}
	if form == "id" || form == "node" || form == "uri" || form == "jid" || form == "item" || form == "nick" {
		_, letters = Weight(v)
	}
	return size, letters
}
