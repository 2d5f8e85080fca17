package classify

import "github.com/chaperone-im/chaperone/internal/network/flow/decode"

// offersECH reports whether a client hello has an encrypted one in it (RFC 9849). Clients that know of no key for a server put in random bytes
// which look the same (section 6.2), and then the name that is seen is the true one: the extension alone tells nothing of the name.
func offersECH(fact *decode.Fact) bool { return fact.Get("ech") != "" }

// standsIn reports whether a name is one that a provider of encrypted client hello has all of its customers' clients say in clear
// (developers.cloudflare.com/ssl/edge-certificates/ech, 2026-11). It is nobody's own.
func standsIn(name string) bool { return name == "cloudflare-ech.com" }

// echSaid is what is said of a flow that offers an encrypted client hello and is of no known messenger.
const echSaid = "offered: unless it is GREASE, the name in clear is the outer one, and the true one is hidden"
