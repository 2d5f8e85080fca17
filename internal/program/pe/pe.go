// Package pe reads who made a Windows program and what it is: version resource and Authenticode signers.
//
// A signature is verified against its own certificate and the file. No list of authorities is asked: a program that claims to be a messenger
// is treated as one, whoever vouches for it.
package pe

import (
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/saferwall/pe"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/authenticode"
)

// ErrNotPE says that bytes which begin with MZ are no PE file: a DOS program, or a text.
var ErrNotPE = errors.New("pe: no PE header")

// Parse reads a PE file. What cannot be read is said in Unread, as far as the file can be read at all.
func Parse(data []byte) (id program.Identity, err error) {
	id.Format = program.PE
	if !isPE(data) {
		return id, ErrNotPE
	}
	defer func() {
		if p := recover(); p != nil { // the library trusts offsets in places
			id.Unread = program.Text(fmt.Sprint("pe: ", p))
			err = nil
		}
	}()
	f, err := pe.NewBytes(data, &pe.Options{
		DisableCertValidation: true, DisableSignatureValidation: true, MaxCOFFSymbolsCount: 1, MaxRelocEntriesCount: 1,
		OmitExportDirectory: true, OmitImportDirectory: true, OmitExceptionDirectory: true, OmitRelocDirectory: true,
		OmitDebugDirectory: true, OmitArchitectureDirectory: true, OmitGlobalPtrDirectory: true, OmitTLSDirectory: true,
		OmitLoadConfigDirectory: true, OmitBoundImportDirectory: true, OmitIATDirectory: true, OmitDelayImportDirectory: true,
		OmitCLRHeaderDirectory: true, OmitCLRMetadata: true, OmitSecurityDirectory: true, // signatures are bounded before they are read
		Logger: silent{},
	})
	if err != nil {
		return id, fmt.Errorf("pe: %w", err)
	}
	if err := f.Parse(); err != nil {
		return id, fmt.Errorf("pe: %w", err)
	}
	version(f, data, &id)
	id.Kind = kind(f, &id)
	der, err := signature(data)
	if err == nil && der != nil {
		id.Signers, err = authenticode.ParseAll(der, func(h crypto.Hash) ([]byte, error) { return digest(data, h) })
	}
	if err != nil && id.Unread == "" {
		id.Unread = program.Text("signature: " + err.Error())
	}
	return id, nil
}

func isPE(data []byte) bool {
	if len(data) < 64 {
		return false
	}
	at := uint64(binary.LittleEndian.Uint32(data[60:]))
	return at+4 <= uint64(len(data)) && string(data[at:at+4]) == "PE\x00\x00"
}

func version(f *pe.File, data []byte, id *program.Identity) {
	v, err := versionStrings(f, data)
	if err != nil {
		id.Unread = program.Text("version resource: " + err.Error())
	}
	id.Product = program.Text(v["ProductName"])
	id.Company = program.Text(v["CompanyName"])
	id.Version = program.Text(v["ProductVersion"])
	if id.Version == "" {
		id.Version = program.Text(v["FileVersion"])
	}
	id.Binary = program.Text(v["OriginalFilename"])
	id.Kind = program.Text(v["FileDescription"]) // for kind, which replaces it
}

// kind tells installers by the section that NSIS adds and by what they call themselves.
func kind(f *pe.File, id *program.Identity) string {
	said := strings.ToLower(id.Kind + " " + id.Product + " " + id.Binary)
	for i := range f.Sections {
		if f.Sections[i].String() == ".ndata" {
			return program.Installer
		}
	}
	switch {
	case strings.Contains(said, "setup"), strings.Contains(said, "install"):
		return program.Installer
	case f.IsDLL():
		return program.Library
	}
	return program.Client
}
