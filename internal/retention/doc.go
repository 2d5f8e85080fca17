// Package retention keeps what must be kept and destroys what must not: legal holds, erasure on request, and disposal when a retention class
// has run out.
//
// A hold beats everything (law 5). Holds come from acts in the journal and from nowhere else; whoever destroys asks here, and the answer
// stays true until the destruction is done, since both take the same lock. An act that says what is destroyed, by whom and why is durable
// before the first key is gone: the certificate. Proofs stand, for the journal's headers stay.
package retention
