// Package classify says which messenger a flow belongs to, and what policy says of it.
//
// Facts that decoders found are matched with the catalog: host names first, then traffic signatures, then what other flows of the same
// capture taught (a DNS answer that names the address, a call's socket, a socket that behaves as classic Skype), and addresses last, which
// alone are weak. Each match leaves evidence. What matches nothing stays unknown: a port or a guess never makes a messenger.
//
// A Classifier holds the memory of one capture or one interface, bounded and expiring, and belongs to one goroutine.
package classify
