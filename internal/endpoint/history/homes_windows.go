package history

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/windows/registry"
)

const maxHomes = 100_000

// profiles is where Windows keeps which profiles this machine has.
const profiles = `SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList`

// Homes returns the home folders of this machine: its profiles as the machine's registry lists them, and all that lie beside them.
func Homes() []string {
	var homes []string
	list, err := registry.OpenKey(registry.LOCAL_MACHINE, profiles, registry.READ)
	above := ""
	if err == nil {
		defer list.Close()
		above = expanded(list, "ProfilesDirectory")
		sids, _ := list.ReadSubKeyNames(maxHomes) // what could not be read lies beside the others
		for _, sid := range sids {
			k, err := registry.OpenKey(list, sid, registry.READ)
			if err != nil {
				continue
			}
			homes = append(homes, expanded(k, "ProfileImagePath"))
			k.Close()
		}
	}
	if above == "" {
		above = filepath.Join(os.Getenv("SystemDrive")+`\`, "Users")
	}
	if entries, err := os.ReadDir(above); err == nil {
		for _, e := range entries[:min(len(entries), maxHomes)] {
			homes = append(homes, filepath.Join(above, e.Name()))
		}
	}
	var out []string
	for _, h := range homes {
		same := func(o string) bool { return strings.EqualFold(o, h) }
		if info, err := os.Lstat(h); err == nil && info.IsDir() && filepath.IsAbs(h) && !slices.ContainsFunc(out, same) {
			out = append(out, h)
		}
	}
	return out
}

func expanded(k registry.Key, name string) string {
	text, _, err := k.GetStringValue(name)
	if err != nil {
		return ""
	}
	if full, err := registry.ExpandString(text); err == nil {
		return filepath.Clean(full)
	}
	return ""
}
