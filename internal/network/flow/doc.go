// Package flow reads packets from captures and interfaces and keeps the flows they belong to.
//
// A flow is an outer five-tuple, both directions together: no tunnel is opened, VLAN tags are ignored, fragments after the first are not
// counted, and a capture's flow is never split by silence. The client is the sender of the first packet, or its receiver when that packet
// is a SYN+ACK. Packets are decoded in place, without allocation; the first bytes of each flow go to the decoders of package decode until
// they have told all they will tell. From then on a packet costs one look-up.
//
// Everything is bounded: the number of flows, bytes kept per direction and together, segments out of order, packets looked into. When there
// is no room for another flow the one silent for longest leaves, and is reported: first among those that nobody answered, as a flood's are,
// so that a flood hides nothing that lives. When decoders hold too much, those that have waited for longest give up, and are counted.
//
// A flow is 128 bytes without a pointer. Flows, buffers and the decoders' states are used again. A packet of a flow that is known, or still unknown, allocates nothing.
// An interface is read through memory that is shared with the kernel, a block of packets at a time.
package flow
