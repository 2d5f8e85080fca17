// Package flow reads packets from captures and interfaces and keeps the flows they belong to.
//
// A flow is an outer five-tuple, both directions together: no tunnel is opened, VLAN tags are ignored, fragments after the first are not
// counted, and a capture's flow is never split by silence. The client is the sender of the first packet, or its receiver when that packet
// is a SYN+ACK. Packets are decoded in place, without allocation; the first bytes of each flow go to the decoders of package decode until
// they have told all they will tell. From then on a packet costs one look-up.
//
// Everything is bounded: the number of flows (the one silent for longest goes first, and is reported), bytes kept per direction,
// segments out of order, packets looked into.
package flow
