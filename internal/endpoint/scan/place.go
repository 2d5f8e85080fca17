package scan

import (
	"os/user"
	"strconv"
	"strings"
	"sync"
)

// What event.Program.Media says.
const (
	mediaRemovable = "removable"
	mediaFixed     = "fixed"
)

// places tells where files lie and whose they are. It asks the system once for each device and each user.
type places struct {
	sys    string // where sysfs is
	mounts string // the mount table of this process

	mu     sync.Mutex
	media  map[uint64]string
	owners map[string]string
}

func newPlaces(sys string) *places {
	if sys == "" {
		sys = "/sys"
	}
	return &places{sys: sys, mounts: "/proc/self/mountinfo", media: map[uint64]string{}, owners: map[string]string{}}
}

// ownerOf returns the name of a user, by his number or his security identifier, which stands for itself where he has none here. It is the name
// of the account, without the domain of Windows.
func (p *places) ownerOf(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, ok := p.owners[id]
	if !ok {
		name = id
		if u, err := user.LookupId(id); err == nil {
			name = u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
		}
		p.owners[id] = name
	}
	return name
}

// owner returns the name of a user by his number.
func (p *places) owner(uid uint32) string { return p.ownerOf(strconv.FormatUint(uint64(uid), 10)) }

// medium returns whether the device of a file system is removable or fixed, "" when it has none: network, memory, layers.
func (p *places) medium(device uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.media[device]
	if !ok {
		m = p.look(device)
		p.media[device] = m
	}
	return m
}
