package server

import (
	"sync/atomic"
	"time"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/identity"
)

// People is the directory in force, which a reload replaces as a whole.
type People struct {
	path    string // "" when there is none
	inForce atomic.Pointer[identity.People]
}

// LoadPeople reads the directory of a configuration. Without one nobody is known.
func LoadPeople(c *config.Config) (*People, error) {
	p := &People{path: c.Path(c.People.CSV)}
	read, err := p.read()
	if err != nil {
		return nil, err
	}
	p.inForce.Store(read)
	return p, nil
}

// read reads the table again and leaves what is in force.
func (p *People) read() (*identity.People, error) {
	if p.path == "" {
		return &identity.People{}, nil
	}
	return identity.LoadPeople(p.path)
}

// Enrol tells a roll of everybody in the directory in force.
func (p *People) Enrol(r identity.Roll) { p.inForce.Load().Enrol(r) }

// Party implements identity.Directory.
func (p *People) Party(connector, handle string, at time.Time) event.Party {
	return p.inForce.Load().Party(connector, handle, at)
}

// Groups implements identity.Members.
func (p *People) Groups(person string) ([]string, bool) { return p.inForce.Load().Groups(person) }

// Host implements identity.Directory.
func (p *People) Host(name, address string, at time.Time) event.Host {
	return p.inForce.Load().Host(name, address, at)
}
