package main

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/ayoubfaouzi/pkcs7"
	"howett.net/plist"

	"github.com/chaperone-im/chaperone/internal/endpoint/rescan"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// Small things to be found inside.
const (
	desktopFile = "[Desktop Entry]\nType=Application\nName=Example\nExec=chromium --app-id=hnpfjngllnobngcgfapefoaidbinmjnm\nX-Flatpak=org.example.App\n"
	xmlPlist    = `<?xml version="1.0"?><!DOCTYPE plist><plist version="1.0"><dict><key>CFBundleIdentifier</key><string>org.example.app</string>` +
		`<key>CFBundleShortVersionString</key><string>1.2</string><key>a</key><array><integer>7</integer><real>1.5</real><data>AAEC</data><true/><date>2026-01-01T00:00:00Z</date></array></dict></plist>`
	appxManifest = `<?xml version="1.0"?><Package><Identity Name="a.b" Publisher="CN=Example" Version="1.0.0.0"/><Properties><DisplayName>Example</DisplayName></Properties></Package>`
	jarManifest  = "Manifest-Version: 1.0\r\nMain-Class: org.example.\r\n Main\r\nImplementation-Title: Example\r\n\r\n"
	metadata     = "Metadata-Version: 2.1\nName: example-client\nVersion: 1.2\nAuthor: Example\n\nwords\n"
	packageJSON  = `{"name":"example","productName":"Example","version":"1.2.3","author":{"name":"Example"}}`
)

func exe() []byte {
	return programtest.PE(map[string]string{"ProductName": "Example", "CompanyName": "Example", "ProductVersion": "1.2", "OriginalFilename": "a.exe"})
}

// written are the seeds that need no tool.
func written() (map[string][][]byte, error) {
	x := exe()
	tree := map[string][]byte{"a.exe": x, "b.desktop": []byte(desktopFile), "c.txt": []byte("words")}
	small := map[string][]byte{"b.desktop": []byte(desktopFile)}
	out := map[string][][]byte{
		"pe": {x, programtest.PE(nil)}, "desktop": {[]byte(desktopFile)}, "plist-xml": {[]byte(xmlPlist)}, "metadata": {[]byte(metadata)},
		"deb": {programtest.Deb("example", "1", small), programtest.Deb("example", "1", tree)},
		"rpm": {programtest.RPM("example", "1", "Example", programtest.Gzip(programtest.CPIO(small))), programtest.RPM("example", "1", "", programtest.Gzip(programtest.CPIO(tree)))},
		"tar": {programtest.Tar(tree), programtest.Tar(small)}, "gzip": {programtest.Gzip(programtest.Tar(small)), programtest.Gzip([]byte(desktopFile))},
		"cpio": {programtest.CPIO(small), programtest.CPIO(tree), oldCPIO("b.desktop", desktopFile)}, "ar": {unixArchive("b.desktop", desktopFile)},
		"rar4": {rar4("b.desktop", desktopFile, 0), rar4("b.desktop", desktopFile, 4)}, "rar5": {rar5("b.desktop", desktopFile)},
		"cab":      {cabinet(0, "b.desktop", desktopFile), lzxCabinet("b.desktop", desktopFile)},
		"asar":     {asar(map[string]string{"package.json": packageJSON, "b.desktop": desktopFile})},
		"xar":      {xar("application/octet-stream", "b.desktop", []byte(desktopFile)), xar("application/x-gzip", "b.desktop", []byte(desktopFile)), xar("application/octet-stream", "Payload", programtest.Gzip(oldCPIO("b.desktop", desktopFile)))},
		"pbzx":     {pbzx(oldCPIO("b.desktop", desktopFile)), pbzx(programtest.CPIO(small), oldCPIO("c.txt", "words"))},
		"macho":    {machO("org.example.app", "AAAAAAAAAA")},
		"elf":      {smallELF(false)},
		"appimage": {smallELF(true)},
		"zip":      {zipped("b.desktop", desktopFile), zipped("a.exe", string(x), "in/c.zip", string(zipped("b.desktop", desktopFile)))},
		"msix":     {zipped("AppxManifest.xml", appxManifest, "AppxBlockMap.xml", "<BlockMap/>", "[Content_Types].xml", "<Types/>", "AppxSignature.p7x", "PKCX0")},
		"jar":      {zipped("META-INF/MANIFEST.MF", jarManifest, "org/example/Main.class", "\xca\xfe\xba\xbe\x00\x00\x00\x41")},
		"wheel":    {zipped("example-1.2.dist-info/METADATA", metadata, "example/__init__.py", "pass")},
		"self-extracting": {append(exe(), zipped("b.desktop", desktopFile)...), append(exe(), rar4("b.desktop", desktopFile, 0)...), append(exe(), cabinet(0, "b.desktop", desktopFile)...),
			append(smallELF(false), zipped("b.desktop", desktopFile)...)},
		"lzx":                 {append([]byte{15, byte(len(desktopFile)), 0}, lzxBlock(desktopFile)...)},
		"manifests":           {[]byte(appxManifest), []byte(jarManifest), []byte(metadata), []byte(packageJSON)},
		"tokens":              {[]byte("before tdesktop and telegram behind"), []byte("t\x00e\x00l\x00e\x00g\x00r\x00a\x00m\x00 1\x004\x009\x00.1")},
		"quarantine-manifest": {[]byte(`{"id":"01a212f6-a97c-7960-8785-884b5aba92d1","path":"/x/y","mode":420,"sha256":"00","size":7,"time":"2026-11-25T00:00:00Z"}`), []byte(`{"id":"01a212f6-a97c-7960-8785-884b5aba92d1","path_base64":"L3g="}`)},
		"quarantine-seal":     {[]byte(`{"id":"x","path":"/a","sha256":"00","time":"2026-11-25T00:00:00Z"}`)},
		"removal-plan":        {[]byte(removalPlan)},
	}
	out["macho-fat"] = [][]byte{fatMachO(out["macho"][0])}
	out["sniff"] = [][]byte{x, out["zip"][0], out["tar"][1], out["cpio"][2], out["macho-fat"][0], []byte(desktopFile)}
	out["filetype"] = append([][]byte{[]byte("%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Encrypt 3 0 R>>\n%%EOF"), out["rar5"][0], out["jar"][0]}, out["sniff"]...)
	binaryPlist, err := plist.Marshal(map[string]any{"CFBundleIdentifier": "org.example.app", "CFBundleName": "Exämple", "a": []any{1, 2.5, true, []byte{1, 2}, time.Unix(0, 0), map[string]any{"b": "c"}}}, plist.BinaryFormat)
	if err != nil {
		return nil, fmt.Errorf("plist: %w", err)
	}
	out["plist-binary"] = [][]byte{binaryPlist}
	signature, err := pkcs7Signature([]byte("content"), time.Unix(1e9, 0))
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	out["authenticode"] = [][]byte{signature}
	state, err := scanState()
	out["scan-state"] = [][]byte{state}
	return out, err
}

const removalPlan = `{"type":"plan","version":1,"host":"h","time":"2026-11-25T00:00:00Z","remove":true,"policy":"p","catalog":"c","acts":[
{"type":"act","action":"remove","path":"/a","planned":{"app":"x","owner":"o","device":1,"inode":2,"size":3,"sha256":"s","rule":"r","confidence":0.9,"undo":""}},
{"type":"act","action":"quarantine","path":"/b\ufffd","path_base64":"L2L/","planned":{"app":"x","owner":"o","device":1,"inode":2,"size":3,"sha256":"s","rule":"r","confidence":0.9,"undo":""}}]}`

// scanState is the list of a scan that was interrupted.
func scanState() ([]byte, error) {
	dir, err := os.MkdirTemp("", "mutate-state-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	m, err := rescan.Open(dir, "rules")
	if err != nil {
		return nil, err
	}
	for i := range uint64(5) {
		m.Clean(rescan.Key{Ino: i, Changed: 1}, time.Now())
	}
	if err := errors.Join(m.Finish([]string{"/usr"}, 5), m.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "scan.state"))
}

func zipped(parts ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i+1 < len(parts); i += 2 {
		method := uint16(zip.Deflate)
		if i == 0 {
			method = zip.Store
		}
		if p, err := w.CreateHeader(&zip.FileHeader{Name: parts[i], Method: method}); err == nil {
			_, _ = p.Write([]byte(parts[i+1])) // memory does not fail
		}
	}
	_ = w.Close()
	return b.Bytes()
}

func zlibbed(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b) // memory does not fail
	_ = z.Close()
	return out.Bytes()
}

func oldCPIO(name, body string) []byte {
	var b []byte
	for _, f := range [][2]string{{name, body}, {"TRAILER!!!", ""}} {
		b = fmt.Appendf(b, "070707%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s", 1, 2, 0o100644, 0, 0, 1, 0, 0, len(f[0])+1, len(f[1]), f[0], f[1])
	}
	return b
}

func unixArchive(name, body string) []byte {
	b := fmt.Appendf(nil, "!<arch>\n%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", name+"/", 0, 0, 0, "644", len(body), body)
	return append(b, "\n"[:len(body)%2]...)
}

// rar4 is an archive in the format of RAR 2.9 with one stored file.
func rar4(name, body string, flags uint16) []byte {
	le := binary.LittleEndian
	block := func(kind byte, flags uint16, rest []byte) []byte {
		h := append([]byte{kind}, le.AppendUint16(le.AppendUint16(nil, flags), uint16(7+len(rest)))...)
		h = append(h, rest...)
		return append(le.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h))), h...)
	}
	b := append([]byte("Rar!\x1a\x07\x00"), block(0x73, 0, make([]byte, 6))...)
	h := le.AppendUint32(le.AppendUint32(nil, uint32(len(body))), uint32(len(body)))
	h = le.AppendUint32(append(h, 3), crc32.ChecksumIEEE([]byte(body)))
	h = append(le.AppendUint32(h, 0), 29, 0x30)
	h = le.AppendUint32(le.AppendUint16(h, uint16(len(name))), 0o100644)
	b = append(append(b, block(0x74, 0x8000|flags, append(h, name...))...), body...)
	return append(b, block(0x7b, 0x4000, nil)...)
}

// rar5 is one in the format of RAR 5, whose numbers are of seven bits each.
func rar5(name, body string) []byte {
	block := func(fields ...uint64) []byte {
		var h []byte
		for _, v := range fields {
			h = binary.AppendUvarint(h, v)
		}
		return h
	}
	whole := func(h []byte) []byte {
		h = append(binary.AppendUvarint(nil, uint64(len(h))), h...)
		return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(h)), h...)
	}
	b := append([]byte("Rar!\x1a\x07\x01\x00"), whole(block(1, 0, 0))...)
	h := block(2, 2, uint64(len(body)), 4, uint64(len(body)), 0o644) // a file, with data and a sum
	h = binary.LittleEndian.AppendUint32(h, crc32.ChecksumIEEE([]byte(body)))
	h = append(append(h, block(0, 1, uint64(len(name)))...), name...)
	b = append(append(b, whole(h)...), body...)
	return append(b, whole(block(5, 0, 0))...)
}

// cabinet is one with a single block.
func cabinet(method uint16, name, body string) []byte {
	le := binary.LittleEndian
	files := 36 + 8
	blocks := files + 16 + len(name) + 1
	b := le.AppendUint32([]byte("MSCF\x00\x00\x00\x00"), uint32(blocks+8+len(body)))
	b = le.AppendUint32(le.AppendUint32(b, 0), uint32(files))
	b = append(b, 0, 0, 0, 0, 3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(le.AppendUint16(le.AppendUint32(b, uint32(blocks)), 1), method)
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(body))), 0)
	b = append(append(append(b, make([]byte, 8)...), name...), 0)
	b = le.AppendUint16(le.AppendUint16(le.AppendUint32(b, 0), uint16(len(body))), uint16(len(body)))
	return append(b, body...)
}

// lzxBlock is a block of LZX that is not packed: 3 bits of its kind, 24 of its size, three offsets.
func lzxBlock(body string) []byte {
	head := 3<<28 | uint32(len(body))<<4
	b := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, uint16(head>>16)), uint16(head))
	return append(append(b, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0), body...)
}

func lzxCabinet(name, body string) []byte {
	packed := lzxBlock(body)
	b := cabinet(0x1503, name, string(packed))
	binary.LittleEndian.PutUint32(b[44:], uint32(len(body)))
	binary.LittleEndian.PutUint16(b[len(b)-len(packed)-2:], uint16(len(body)))
	return b
}

func asar(files map[string]string) []byte {
	type node struct {
		Files  map[string]*node `json:"files,omitempty"`
		Size   int              `json:"size,omitempty"`
		Offset string           `json:"offset,omitempty"`
	}
	root, all := &node{Files: map[string]*node{}}, ""
	for name, body := range files {
		root.Files[name] = &node{Size: len(body), Offset: fmt.Sprint(len(all))}
		all += body
	}
	text, _ := json.Marshal(root) // of plain texts and numbers
	le, padded := binary.LittleEndian, (len(text)+3)&^3
	b := le.AppendUint32(le.AppendUint32(nil, 4), uint32(padded+8))
	b = append(le.AppendUint32(le.AppendUint32(b, uint32(padded+4)), uint32(len(text))), text...)
	return append(append(b, make([]byte, padded-len(text))...), all...)
}

func xar(style, name string, body []byte) []byte {
	size := len(body)
	if style == "application/x-gzip" {
		body = zlibbed(body)
	}
	toc := fmt.Sprintf("<?xml version=\"1.0\"?><xar><toc><file id=\"1\"><type>directory</type><name>in</name><file><name>%s</name><type>file</type>"+
		"<data><length>%d</length><offset>%d</offset><size>%d</size><encoding style=\"%s\"/></data></file></file></toc></xar>", name, len(body), 0, size, style)
	packed := zlibbed([]byte(toc))
	be := binary.BigEndian
	b := be.AppendUint16(be.AppendUint16([]byte("xar!"), 28), 1)
	b = be.AppendUint32(be.AppendUint64(be.AppendUint64(b, uint64(len(packed))), uint64(len(toc))), 0)
	return append(append(b, packed...), body...)
}

func pbzx(parts ...[]byte) []byte {
	be := binary.BigEndian
	b := be.AppendUint64([]byte("pbzx"), 1<<24)
	for _, p := range parts {
		b = append(be.AppendUint64(be.AppendUint64(b, 1<<24), uint64(len(p))), p...)
	}
	return b
}

// machO is one that holds nothing but a library to load and a signature with two texts.
func machO(identifier, team string) []byte {
	const directorySize = 52
	texts := identifier + "\x00" + team + "\x00"
	directory := make([]byte, directorySize)
	be := binary.BigEndian
	for at, v := range map[int]uint32{0: 0xfade0c02, 4: uint32(directorySize + len(texts)), 8: 0x20200, 20: directorySize, 48: uint32(directorySize + len(identifier) + 1)} {
		be.PutUint32(directory[at:], v)
	}
	directory = append(directory, texts...)
	var super []byte
	for _, v := range []uint32{0xfade0cc0, uint32(20 + len(directory)), 1, 0, 20} {
		super = be.AppendUint32(super, v)
	}
	super = append(super, directory...)
	var b []byte
	for _, v := range []uint32{0xfeedfacf, 0x0100000c, 0, 2, 2, 48, 0, 0, 0xc, 32, 24, 0, 0, 0, 0x62696c2f, 0x61, 0x1d, 16, 80, uint32(len(super))} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return append(b, super...)
}

func fatMachO(thin []byte) []byte {
	const at = 256
	var b []byte
	for _, v := range []uint32{0xcafebabe, 2, 0x0100000c, 0, at, uint32(len(thin)), 4, 0x01000007, 3, at + 512, uint32(len(thin)), 4} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = append(append(b, make([]byte, at-len(b))...), thin...)
	b = append(b, make([]byte, at+512-len(b))...)
	other := bytes.Clone(thin)
	binary.LittleEndian.PutUint32(other[4:], 0x01000007)
	return append(b, other...)
}

// smallELF is a program header, four sections and their names.
func smallELF(appImage bool) []byte {
	const names = "\x00.shstrtab\x00.note.gnu.build-id\x00.upd_info\x00"
	le := binary.LittleEndian
	note := append(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 4), 4), 3), "GNU\x00abcd"...)
	info := "gh-releases-zsync|owner|Example|latest|Example*.zsync\x00"
	body := names + string(note) + info
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	if appImage {
		copy(b[8:], "AI\x02")
	}
	b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, 2), 62), 1)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, 0), 64), uint64(120+len(body)))
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 4, 1} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5)
	for _, v := range []uint64{0, 0x400000, 0x400000, uint64(120 + len(body)), uint64(120 + len(body)), 4096} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, body...)
	section := func(name, kind uint32, at, size int) {
		b = le.AppendUint32(le.AppendUint32(b, name), kind)
		for _, v := range []uint64{0, 0, uint64(at), uint64(size), 0, 1, 0} {
			b = le.AppendUint64(b, v)
		}
	}
	section(0, 0, 0, 0)
	section(1, 3, 120, len(names))
	section(11, 7, 120+len(names), len(note))
	section(30, 1, 120+len(names)+len(note), len(info))
	return b
}

// pkcs7Signature is one over content, with a time stamp when at is not zero.
func pkcs7Signature(content []byte, at time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Example", Organization: []string{"Example"}}, NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	signed, err := pkcs7.NewSignedData(content)
	if err != nil {
		return nil, err
	}
	var config pkcs7.SignerInfoConfig
	if !at.IsZero() {
		info, err := asn1.Marshal(struct {
			Version int
			Policy  asn1.ObjectIdentifier
			Imprint asn1.RawValue
			Serial  int
			Time    time.Time `asn1:"generalized"`
		}{1, asn1.ObjectIdentifier{1, 2, 3}, asn1.RawValue{FullBytes: []byte{0x30, 0}}, 7, at})
		if err != nil {
			return nil, err
		}
		stamp, err := pkcs7Signature(info, time.Time{})
		if err != nil {
			return nil, err
		}
		config.ExtraUnsignedAttributes = []pkcs7.Attribute{{Type: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}, Value: asn1.RawValue{FullBytes: stamp}}}
	}
	if err := signed.AddSigner(certificate, key, config); err != nil {
		return nil, err
	}
	return signed.Finish()
}
