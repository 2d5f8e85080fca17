package trust

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Stamp is the state of the databases of packages: another one after packages came or went.
type Stamp struct {
	Dpkg, Flatpak Moment
	RPM           [4]Moment
}

// Moment is the state of one file, zero where there is none.
type Moment struct {
	Ino               uint64
	Size, Made, Noted int64
}

// Stamps reads the stamp below a root folder ("" for this machine's).
func Stamps(root string) Stamp {
	at := func(path string) Moment {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(root, path), &st) != nil {
			return Moment{}
		}
		return Moment{st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
	}
	s := Stamp{Dpkg: at("/var/lib/dpkg/info"), Flatpak: at(flatpakStore + "/app")}
	if c := at(flatpakStore + "/.changed"); c.Noted > s.Flatpak.Noted { // which Flatpak touches with each change
		s.Flatpak = c
	}
	// Not the folder: who only asks rpm changes it. Of its log there is a file while somebody has the database open.
	for i, name := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db"} {
		if s.RPM[i] = at("/var/lib/rpm/" + name); s.RPM[i].Size == 0 {
			s.RPM[i] = Moment{}
		}
	}
	return s
}

// Unpacking reports whether dpkg unpacks a package, whose list comes once that is done.
func Unpacking(root string) bool {
	var st unix.Stat_t
	return unix.Lstat(filepath.Join(root, "/var/lib/dpkg/tmp.ci"), &st) == nil
}

// settle is how long after a change another one may bear the same time.
const settle = time.Second

// Settled reports whether a change after a time, at which the stamp was the same, has another stamp.
func (s *Stamp) Settled(at time.Time) bool {
	for _, m := range append([]Moment{s.Dpkg, s.Flatpak}, s.RPM[:]...) {
		if d := at.UnixNano() - m.Noted; d < int64(settle) && d > -int64(settle) {
			return false
		}
	}
	return true
}
