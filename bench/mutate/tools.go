package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program/pe"
)

// recipe has a real tool make a file of the things in a folder: a.exe, b.desktop, c.txt, in/b.desktop, a.wxs, a.nsi and some more.
type recipe struct {
	parser string
	out    string   // "" is the standard output
	words  []string // what is run, one after another, by a shell
}

const wixSource = `<?xml version="1.0"?><Wix xmlns="http://schemas.microsoft.com/wix/2006/wi"><Product Id="*" Name="Tools" Language="1033" Version="1.0.0"
Manufacturer="Example" UpgradeCode="11111111-2222-3333-4444-555555555555"><Package InstallerVersion="200" Compressed="yes"/><Media Id="1" Cabinet="cab1.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Component Id="C" Guid="11111111-2222-3333-4444-555555555556"><File Id="P" Source="b.desktop" KeyPath="yes"/></Component></Directory>
<Feature Id="X" Level="1"><ComponentRef Id="C"/></Feature></Product></Wix>`

const rpmSpec = `Name: example
Version: 1
Release: 1
Summary: x
License: none
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}/usr/share
cp %{here}/b.desktop %{buildroot}/usr/share/b.desktop
%files
/usr/share/b.desktop
`

// sign makes a key with its certificate, once.
const sign = "[ -e k.pem ] || openssl req -x509 -newkey rsa:1024 -nodes -keyout k.pem -out c.pem -days 30 -subj /O=Example/CN=Example -addext extendedKeyUsage=codeSigning; osslsigncode sign -certs c.pem -key k.pem "

func recipes() []recipe {
	out := []recipe{
		{"pe-signed", "s.exe", []string{sign + "-h sha256 -n Example -in a.exe -out s.exe"}},
		{"pe-signed", "s1.exe", []string{sign + "-h sha1 -in a.exe -out s1.exe"}},
		{"pe-signed", "s3.exe", []string{sign + "-nest -h sha384 -in s.exe -out s3.exe"}},
		{"msi", "a.msi", []string{"wixl -o a.msi a.wxs"}},
		{"msi", "s.msi", []string{"[ -e a.msi ] || wixl -o a.msi a.wxs", sign + "-in a.msi -out s.msi"}},
		{"deb", "none.deb", []string{"dpkg-deb -Znone --root-owner-group -b package none.deb"}},
		{"deb", "xz.deb", []string{"dpkg-deb -Zxz --root-owner-group -b package xz.deb"}},
		{"deb", "zstd.deb", []string{"dpkg-deb -Zzstd --root-owner-group -b package zstd.deb"}},
		{"jar", "a.jar", []string{"jar cfe a.jar org.example.Main b.desktop"}},
		{"zip", "", []string{"zip -q -r -0 - in"}}, {"zip", "", []string{"zip -q -r - in c.txt"}}, {"zip", "", []string{"zip -q -P secret - b.desktop"}},
		{"zip", "7.zip", []string{"7z a -bd -tzip -mm=copy 7.zip in"}}, {"zip", "8.zip", []string{"7z a -bd -tzip -mm=lzma 8.zip in"}},
		{"iso", "", []string{"genisoimage -quiet -no-pad -J -R in"}}, {"iso", "", []string{"genisoimage -quiet -no-pad in"}}, {"iso", "", []string{"genisoimage -quiet -no-pad -udf -J in"}},
		{"bzip2", "", []string{"bzip2 -c b.desktop"}}, {"bzip2", "", []string{"tar -c in | bzip2 -1"}},
		{"xz", "", []string{"tar -c in | xz --check=none"}}, {"xz", "", []string{"xz -c --check=none b.desktop"}}, {"xz", "", []string{"xz -c --check=crc32 --x86 --lzma2 b.desktop"}},
		{"zstd", "", []string{"tar -c in | zstd -q --no-check"}}, {"zstd", "", []string{"zstd -q -19 --no-check -c b.desktop"}}, {"zstd", "", []string{"zstd -q --check -c a.exe"}},
		{"gzip", "", []string{"tar -c in | gzip -n"}}, {"gzip", "", []string{"gzip -c b.desktop"}},
		{"cab", "n.cab", []string{"gcab -c -n n.cab b.desktop c.txt"}}, {"cab", "z.cab", []string{"gcab -c -z z.cab a.exe b.desktop"}},
		{"nsis-bzip2", "", []string{"bzip2 -9 -c b.desktop"}},
	}
	for _, by := range []string{"gzip", "lzo", "xz", "lz4", "zstd"} {
		for _, more := range []string{"-b 4096", "-b 4096 -noI -noD -noF", "-b 4096 -no-fragments", "-b 65536 -noI"} {
			out = append(out, recipe{"squashfs-" + by, "o.sqfs", []string{"rm -f o.sqfs; mksquashfs in o.sqfs -quiet -no-progress -nopad -all-root -processors 1 " + more + " -comp " + by}})
		}
	}
	for _, by := range []string{"-m0=copy -mhc=off", "-m0=lzma -mhc=off", "-m0=lzma2", "-m0=lzma2:d=64k -mhc=off", "-m0=ppmd:mem=1m -mhc=off", "-m0=bzip2 -mhc=off", "-m0=deflate -mhc=off", "-m0=bcj -m1=lzma:d=64k -mhc=off",
		"-m0=bcj2 -m1=lzma:d=64k -m2=lzma:d=64k -m3=lzma:d=64k -mb0:1 -mb0s1:2 -mb0s2:3 -mhc=off", "-m0=delta:4 -m1=lzma:d=64k -mhc=off", "-psecret", "-psecret -mhe=on"} {
		out = append(out, recipe{"7z", "o.7z", []string{"rm -f o.7z; 7z a -bd o.7z in " + by}})
	}
	out = append(out, recipe{"self-extracting", "", []string{"rm -f p.7z; 7z a -bd -m0=copy -mhc=off p.7z b.desktop >/dev/null; cat a.exe p.7z"}},
		recipe{"self-extracting", "", []string{"rm -f p.sqfs; mksquashfs in p.sqfs -quiet -no-progress -nopad -processors 1 -b 4096 >/dev/null; cat a.exe p.sqfs"}})
	out = append(out, recipe{"appimage", "", []string{"rm -f q.sqfs; mksquashfs in q.sqfs -quiet -no-progress -nopad -all-root -processors 1 -b 4096 -noI >/dev/null; cat a.appimage q.sqfs"}})
	for _, format := range []string{"ustar", "pax", "gnu", "oldgnu", "v7"} {
		out = append(out, recipe{"tar", "", []string{"tar -c -b 1 --format=" + format + " in c.txt"}})
	}
	out = append(out, recipe{"tar", "", []string{"truncate -s 100000 hole; echo x >>hole; tar -c -b 1 -S --format=pax hole"}})
	for _, format := range []string{"newc", "odc", "crc"} {
		out = append(out, recipe{"cpio", "", []string{"find in c.txt | cpio --quiet -o -H " + format}})
	}
	for _, by := range []string{"SetCompressor /SOLID lzma", "SetCompressor lzma", "SetCompressor /SOLID zlib", "SetCompressor zlib", "SetCompressor /SOLID bzip2", "SetCompressor bzip2", "SetCompress off"} {
		out = append(out, recipe{"nsis", "o.exe", []string{"printf '" + by + "\\nOutFile o.exe\\nSection\\nFile a.exe\\nFile b.desktop\\nSectionEnd\\n' >o.nsi; makensis -V1 o.nsi"}})
	}
	for _, by := range []string{"w6.gzdio", "w6.xzdio", "w3.zstdio"} {
		out = append(out, recipe{"rpm", "", []string{"rpmbuild --quiet -bb --define \"_topdir $PWD/rpm\" --define \"here $PWD\" --define '_binary_payload " + by + "' a.spec >&2; cat rpm/RPMS/noarch/*.rpm"}})
	}
	return out
}

// layOut writes what the recipes are made of.
func layOut(dir string) error {
	files := map[string]string{"a.exe": string(exe()), "a.appimage": string(smallELF(true)), "b.desktop": desktopFile, "c.txt": strings.Repeat("words and more words\n", 40), "in/b.desktop": desktopFile, "in/deep/c.txt": "words",
		"a.wxs": wixSource, "a.spec": rpmSpec, "package/DEBIAN/control": "Package: example\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: x\n", "package/usr/share/b.desktop": desktopFile}
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(body), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// cooked are the seeds that tools make, and the recipes whose tool is not there.
func cooked() (map[string][][]byte, []string, error) {
	dir, err := os.MkdirTemp("", "mutate-seeds-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	if err := layOut(dir); err != nil {
		return nil, nil, err
	}
	out := map[string][][]byte{}
	var missing []string
	for _, r := range recipes() {
		b, err := r.cook(dir)
		if err != nil {
			missing = append(missing, err.Error())
			continue
		}
		out[r.parser] = append(out[r.parser], r.trim(b))
	}
	for _, b := range out["pe-signed"] {
		if der := signatureIn(b); der != nil {
			out["authenticode"] = append(out["authenticode"], der)
		}
	}
	return out, missing, nil
}

func (r *recipe) cook(dir string) ([]byte, error) {
	cmd := exec.Command("sh", "-e", "-c", strings.Join(r.words, "\n"))
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	b, err := cmd.Output()
	if err == nil && r.out != "" {
		b, err = os.ReadFile(filepath.Join(dir, r.out))
	}
	if err == nil && len(b) == 0 {
		err = errors.New("nothing was made")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %q: %w %.200s", r.parser, r.words, err, said.String())
	}
	return b, nil
}

// trim takes away what is large and not of the format: the program of an installer, the head of a .bz2 file.
func (r *recipe) trim(b []byte) []byte {
	switch r.parser {
	case "nsis":
		return append(exe(), b[pe.Lay(b).End:]...)
	case "nsis-bzip2": // behind "BZh9", a mark, a sum and one bit
		bits := b[min(14, len(b)):]
		moved := []byte{'1'}
		for i := range len(bits) - 1 {
			moved = append(moved, bits[i]<<1|bits[i+1]>>7)
		}
		return moved
	}
	return b
}

// signatureIn returns the first signature of a program: the fifth directory leads to it.
func signatureIn(b []byte) []byte {
	const directory = 24 + 112 + 4*8
	at := int(binary.LittleEndian.Uint32(b[60:])) + directory
	if at+8 > len(b) {
		return nil
	}
	begin, size := uint64(binary.LittleEndian.Uint32(b[at:])), uint64(binary.LittleEndian.Uint32(b[at+4:]))
	if size < 8 || begin+size > uint64(len(b)) {
		return nil
	}
	return b[begin+8 : begin+size]
}
