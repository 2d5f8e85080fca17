package programtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"time"
)

// Deb returns a Debian package of the given name and version that installs the given files, by path.
func Deb(name, version string, files map[string][]byte) []byte {
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"+
		"Description: generated package\n It holds nothing of the product whose name it bears.\n", name, version)
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	member := func(name string, body []byte) {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(body))
		b.Write(body)
		if len(body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	member("debian-binary", []byte("2.0\n"))
	member("control.tar.gz", Gzip(Tar(map[string][]byte{"./control": []byte(control)})))
	member("data.tar.gz", Gzip(Tar(files)))
	return b.Bytes()
}

// Tar returns a tar archive of the given files, by path.
func Tar(files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range sortedKeys(files) {
		body := files[name]
		// A Buffer never fails, and the headers are valid.
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg})
		_, _ = w.Write(body)
	}
	_ = w.Close()
	return b.Bytes()
}

// Gzip returns compressed bytes.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // a Buffer never fails
	_ = w.Close()
	return out.Bytes()
}

// RPM returns an RPM package of the given name and version with the given compressed cpio archive as its payload.
func RPM(name, version, vendor string, payload []byte) []byte {
	b := append([]byte("\xed\xab\xee\xdb\x03\x00"), make([]byte, 90)...)
	b = append(b, rpmHeader(nil)...)
	b = append(b, make([]byte, align(len(b), 8)-len(b))...)
	b = append(b, rpmHeader([]rpmTag{{1000, name}, {1001, version}, {1002, "1"}, {1011, vendor}})...)
	return append(b, payload...)
}

type rpmTag struct {
	tag  uint32
	text string
}

func rpmHeader(tags []rpmTag) []byte {
	var index, store []byte
	for _, t := range tags {
		index = binary.BigEndian.AppendUint32(index, t.tag)
		index = binary.BigEndian.AppendUint32(index, 6) // a string
		index = binary.BigEndian.AppendUint32(index, uint32(len(store)))
		index = binary.BigEndian.AppendUint32(index, 1)
		store = append(append(store, t.text...), 0)
	}
	b := []byte("\x8e\xad\xe8\x01\x00\x00\x00\x00")
	b = binary.BigEndian.AppendUint32(b, uint32(len(tags)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(store)))
	return append(append(b, index...), store...)
}

// CPIO returns a cpio archive in the "new ASCII" format.
func CPIO(files map[string][]byte) []byte {
	var b bytes.Buffer
	member := func(name string, mode int, body []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, align(b.Len(), 4)-b.Len()))
		b.Write(body)
		b.Write(make([]byte, align(b.Len(), 4)-b.Len()))
	}
	for _, name := range sortedKeys(files) {
		member(name, 0o100644, files[name])
	}
	member("TRAILER!!!", 0, nil)
	return b.Bytes()
}
