package classify

import "github.com/chaperone-im/chaperone/internal/catalog"

// Renew takes over the signatures of a catalog that has changed. What is known of flows, answers and sockets stays.
func (c *Classifier) Renew() {
	c.signature = map[string][]catalog.TrafficSignature{}
	for _, s := range c.catalog.Traffic() {
		c.signature[s.Decoder] = append(c.signature[s.Decoder], s)
	}
}
