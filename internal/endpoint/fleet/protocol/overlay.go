package protocol

import (
	"fmt"
	"time"
)

// Settings are what holds for all agents besides policy and catalog.
type Settings struct {
	CatalogKeys []string `json:"catalog_keys,omitempty"` // verifiers of the keys that may sign catalog bundles
	MustRun     []string `json:"must_run,omitempty"`     // paths of programs that an agent never blocks, besides its own
}

// Overlay is what holds for one host alone.
type Overlay struct {
	Person    string     `json:"person,omitempty"` // whose machine it is
	Groups    []string   `json:"groups,omitempty"` // of that person
	Held      bool       `json:"held,omitempty"`   // under a legal hold: nothing is removed (law 5); for which matter is not told
	Approvals []Approval `json:"approvals,omitempty"`
	Orders    []Order    `json:"orders,omitempty"`
}

// Approval lets one messenger, one file, or what a publisher signed, run until it ends.
type Approval struct {
	ID     string `json:"id"`
	App    string `json:"app,omitempty"`    // by its id in the catalog
	SHA256 string `json:"sha256,omitempty"` // else one file
	// Publisher is the subject of a signer, else.
	Publisher string    `json:"publisher,omitempty"`
	Until     time.Time `json:"until"`
	Reason    string    `json:"reason"`
}

// What an order asks for.
const (
	RemoveOrder     = "remove"     // the package that owns the file, else as QuarantineOrder
	QuarantineOrder = "quarantine" // take the file away so that it can be brought back
	RestoreOrder    = "restore"    // bring back what an earlier order took away
)

// Order asks for what `scan --remove` does, on the files of a plan that an administrator has seen.
type Order struct {
	ID      string      `json:"id"`
	Plan    string      `json:"plan"` // digest of the plan, hex
	Action  string      `json:"action"`
	Expires time.Time   `json:"expires"`
	Items   []OrderItem `json:"items"`
}

// OrderItem is one file of an order: what it must be is part of it.
type OrderItem struct {
	Path     string `json:"path"`
	SHA256   string `json:"sha256"`
	App      string `json:"app"`
	Rule     string `json:"rule,omitempty"`
	ID       string `json:"id,omitempty"`       // in quarantine, of RestoreOrder
	Identity bool   `json:"identity,omitempty"` // the evidence identifies it
	Named    bool   `json:"named,omitempty"`    // somebody who looked at it named it by its content; one of the two, or nothing is done to it
}

// MaxOverlay bounds an overlay, in bytes.
const MaxOverlay = 1 << 20

func (o *Overlay) check() error {
	if len(o.Approvals) > 1000 || len(o.Orders) > 100 {
		return fmt.Errorf("%w: %d approvals, %d orders", ErrMalformed, len(o.Approvals), len(o.Orders))
	}
	for _, a := range o.Approvals {
		n := 0
		for _, s := range []string{a.App, a.SHA256, a.Publisher} {
			if s != "" {
				n++
			}
		}
		if a.ID == "" || n != 1 || a.Until.IsZero() {
			return fmt.Errorf("%w: approval %q", ErrMalformed, a.ID)
		}
	}
	for _, r := range o.Orders {
		switch r.Action {
		case RemoveOrder, QuarantineOrder, RestoreOrder:
		default:
			return fmt.Errorf("%w: order %q", ErrMalformed, r.ID)
		}
		if r.ID == "" || len(r.Items) > MaxOutcomes {
			return fmt.Errorf("%w: order %q", ErrMalformed, r.ID)
		}
	}
	return texts(o.Groups, o.Person)
}
