// Package winetest runs our binary for Windows under Wine, where Wine is installed. It makes a prefix of its own, and gives it the one thing that
// the Go runtime needs and Wine 8 has not: bcryptprimitives.dll, as a library of one function that leads to one that Wine has.
package winetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Prefix is a Windows of its own.
type Prefix struct {
	Dir  string
	wine string
}

// New makes a prefix in dir. It returns an error when there is no Wine.
func New(dir string) (*Prefix, error) {
	wine, err := exec.LookPath("wine")
	if err != nil {
		return nil, err
	}
	p := &Prefix{dir, wine}
	if out, err := p.Output("wineboot", "-i"); err != nil {
		return nil, errors.Join(fmt.Errorf("wineboot: %w: %s", err, out), p.Close())
	}
	if err := p.cutOff(); err != nil {
		return nil, err
	}
	system := p.Path(`C:\windows\system32`)
	if _, err := os.Stat(filepath.Join(system, "bcryptprimitives.dll")); errors.Is(err, os.ErrNotExist) {
		err = os.WriteFile(filepath.Join(system, "bcryptprimitives.dll"), forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o644)
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// cutOff removes the links by which the folders of Wine's user are those of ours: for Windows programs they are no links, and a scan would go on
// through this machine.
func (p *Prefix) cutOff() error {
	return filepath.WalkDir(p.Path(`C:\users`), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSymlink {
			err = os.Remove(path)
		}
		return err
	})
}

// Path returns where a path of the prefix lies here.
func (p *Prefix) Path(windows string) string {
	drive, rest, _ := strings.Cut(windows, `:\`)
	return filepath.Join(p.Dir, "drive_"+strings.ToLower(drive), filepath.FromSlash(strings.ReplaceAll(rest, `\`, "/")))
}

// Output runs a command in the prefix, and returns all that it said. Wine's own processes keep what they inherit: they are not waited for.
func (p *Prefix) Output(words ...string) (string, error) {
	cmd := exec.Command(p.wine, words...)
	cmd.Env = append(os.Environ(), "WINEPREFIX="+p.Dir, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "DISPLAY=", "LC_ALL=C.UTF-8")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return string(out), err
}

// Close ends the processes of the prefix.
func (p *Prefix) Close() error {
	cmd := exec.Command("wineserver", "-k", "-w")
	cmd.Env = append(os.Environ(), "WINEPREFIX="+p.Dir)
	return cmd.Run()
}

// Of the PE format.
const (
	fileAlign = 0x200
	rva       = 0x1000 // of the one section
)

// forwarder returns a library for 64 bits that has no code: one function, which leads to another library's ("library.function").
func forwarder(name, function, to string) []byte {
	le := binary.LittleEndian
	const directory, tables = 40, 40 + 4 + 4 + 2
	strings := name + "\x00" + function + "\x00" + to + "\x00"
	at := func(s int) uint32 { return rva + uint32(tables) + uint32(s) }
	section := make([]byte, 0, fileAlign)
	for _, v := range []uint32{0, 0, 0, at(0), 1, 1, 1, rva + directory, rva + directory + 4, rva + directory + 8, // IMAGE_EXPORT_DIRECTORY
		at(len(name) + len(function) + 2), at(len(name) + 1)} {
		section = le.AppendUint32(section, v)
	}
	section = append(le.AppendUint16(section, 0), strings...)
	size := uint32(len(section))

	image := make([]byte, 64, 3*fileAlign)
	copy(image, "MZ")
	le.PutUint32(image[60:], 64)
	image = append(image, "PE\x00\x00"...)
	for _, v := range []uint16{0x8664, 1, 0, 0, 0, 0, 0, 0, 240, 0x2022} { // x86-64, a library
		image = le.AppendUint16(image, v)
	}
	optional := make([]byte, 240)
	le.PutUint16(optional[0:], 0x20b)
	le.PutUint64(optional[24:], 0x180000000)
	le.PutUint32(optional[32:], 0x1000)
	le.PutUint32(optional[36:], fileAlign)
	le.PutUint16(optional[40:], 6) // version of the system, and of the subsystem
	le.PutUint16(optional[48:], 6)
	le.PutUint32(optional[56:], 2*rva)
	le.PutUint32(optional[60:], fileAlign)
	le.PutUint16(optional[68:], 3)
	le.PutUint16(optional[70:], 0x140)
	le.PutUint32(optional[108:], 16)
	le.PutUint32(optional[112:], rva)
	le.PutUint32(optional[116:], size)
	image = append(image, optional...)
	header := make([]byte, 40)
	copy(header, ".edata")
	for i, v := range []uint32{size, rva, fileAlign, fileAlign} {
		le.PutUint32(header[8+4*i:], v)
	}
	le.PutUint32(header[36:], 0x40000040)
	image = append(image, header...)
	image = append(image, make([]byte, fileAlign-len(image))...)
	image = append(image, section...)
	return append(image, make([]byte, 2*fileAlign-len(image))...)
}
