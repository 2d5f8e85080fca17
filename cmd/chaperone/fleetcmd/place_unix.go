//go:build unix

package fleetcmd

// statePlace is where the state lies.
func statePlace(named string) string { return named }

// alsoScanned is what is scanned where these paths are.
func alsoScanned(paths []string) []string { return paths }
