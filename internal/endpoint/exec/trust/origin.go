package trust

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
)

const (
	maxTable = 4 << 20  // of a mount table
	maxYAML  = 64 << 10 // of the description of a snap
	commit   = 64       // digits of what Flatpak calls a commit
)

// snapPoints are where snaps are mounted.
func snapPoints() []string { return []string{"/snap/", "/var/lib/snapd/snap/"} }

// Named returns the package that a path speaks of: /snap/NAME/REVISION/…, …/flatpak/app/ID/…. Whoever may make such a folder may make it say so.
func Named(path string) (Package, bool) {
	for _, point := range snapPoints() {
		if rest, ok := strings.CutPrefix(path, point); ok {
			if parts := strings.SplitN(rest, "/", 3); len(parts) == 3 {
				return Package{"snap", instance(parts[0])}, parts[0] != "" && parts[0] != "bin"
			}
		}
	}
	if _, rest, ok := strings.Cut(path, "/flatpak/app/"); ok {
		id, _, more := strings.Cut(rest, "/")
		return Package{"flatpak", id}, more && id != ""
	}
	return deployed(path)
}

// instance returns the name of a snap, which may be installed several times under one name and a key.
func instance(name string) string {
	name, _, _ = strings.Cut(name, "_")
	return name
}

// deployed finds app/ID/ARCH/BRANCH/COMMIT/files, where what stands before it is not to be seen.
func deployed(path string) (Package, bool) {
	parts := strings.Split(path, "/")
	for i := 5; i < len(parts)-1; i++ {
		if parts[i] == "files" && len(parts[i-1]) == commit && parts[i-5] == "app" && parts[i-4] != "" {
			return Package{"flatpak", parts[i-4]}, true
		}
	}
	return Package{}, false
}

// Sandboxed returns the Flatpak application that a path is of within its sandbox, where the application is /app, as the mounts of a thread tell it.
func Sandboxed(thread int32, path string) (Package, bool) {
	if !strings.HasPrefix(path, "/app/") {
		return Package{}, false
	}
	f, err := os.Open("/proc/" + strconv.Itoa(int(thread)) + "/mountinfo")
	if err != nil {
		return Package{}, false
	}
	defer f.Close()
	table, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		return Package{}, false
	}
	return behind(table, path)
}

// behind returns the package that a path leads to, by a mount table.
func behind(table []byte, path string) (Package, bool) {
	best := mounts.Mount{}
	for _, m := range mounts.Parse(table) {
		if len(m.Point) >= len(best.Point) && (m.Point == "/" || strings.HasPrefix(path, m.Point+"/")) {
			best = m
		}
	}
	if best.Point == "" {
		return Package{}, false
	}
	return Named(filepath.Join("/", best.Root, strings.TrimPrefix(path, best.Point)))
}

// Snap returns the snap that an opened file is in: by where its image is mounted, sure when that is where snaps are; else by what the image says.
func Snap(f *os.File) (p Package, sure, ok bool) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Type != unix.SQUASHFS_MAGIC || unix.Fstat(int(f.Fd()), &st) != nil {
		return Package{}, false, false
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Package{}, false, false
	}
	device := strconv.Itoa(int(unix.Major(uint64(st.Dev)))) + ":" + strconv.Itoa(int(unix.Minor(uint64(st.Dev))))
	for _, m := range mounts.Parse(table) {
		if m.Device != device || m.Root != "/" {
			continue
		}
		if p, ok := Named(m.Point + "/x"); ok && p.Manager == "snap" {
			return p, true, true
		}
		if name := described(m.Point, uint64(st.Dev)); name != "" {
			p = Package{"snap", name}
		}
	}
	return p, false, p.Name != ""
}

// described returns the name that a snap's image gives itself (snapcraft.io/docs, The snap format: meta/snap.yaml).
func described(point string, device uint64) string {
	f, err := os.OpenFile(filepath.Join(point, "meta/snap.yaml"), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || uint64(st.Dev) != device || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, maxYAML))
	if err != nil {
		return ""
	}
	return snapName(text)
}

// snapName reads the name, a line that begins so.
func snapName(text []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "name:"); ok {
			value, _, _ = strings.Cut(value, " #")
			return strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return ""
}
