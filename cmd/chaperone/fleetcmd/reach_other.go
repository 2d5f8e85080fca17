//go:build !linux

package fleetcmd

// notEntered tells nothing here: which file systems there are is not known.
func (r reachFlags) notEntered([]string) ([]string, error) { return nil, nil }
