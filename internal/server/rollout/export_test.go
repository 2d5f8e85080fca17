package rollout

import "time"

// Built has the depot see a program whose built-in catalog is of that day.
func (d *Depot) Built(edition time.Time) *Depot {
	d.edition = edition
	return d
}
