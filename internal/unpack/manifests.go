package unpack

import (
	"archive/zip"
	"io"
	"strings"

	"github.com/chaperone-im/chaperone/internal/program"
	"github.com/chaperone-im/chaperone/internal/program/manifest"
)

// manifestOf returns what a container is as a package, and its manifest; None and nil when it is no package.
func manifestOf(format program.Format, data []byte) (program.Format, []byte) {
	switch format {
	case program.Zip:
		return zipManifest(data)
	case program.ASAR:
		root, files, err := openAsar(data)
		if err != nil {
			return program.None, nil
		}
		return program.ASAR, asarFile(root.Files["package.json"], files)
	}
	return program.None, nil
}

// zipManifest looks for the manifests of packages that are zip archives.
func zipManifest(data []byte) (program.Format, []byte) {
	list, err := openZips(data)
	if err != nil {
		return program.None, nil
	}
	for _, z := range list {
		if format, b := packageManifest(z); b != nil {
			return format, b
		}
	}
	return program.None, nil
}

func packageManifest(z *zip.Reader) (program.Format, []byte) {
	for _, f := range z.File {
		var format program.Format
		switch {
		case f.Name == "AppxManifest.xml", f.Name == "AppxMetadata/AppxBundleManifest.xml":
			format = program.MSIX
		case f.Name == "META-INF/MANIFEST.MF":
			format = program.JAR
		case strings.HasSuffix(f.Name, ".dist-info/METADATA") && strings.Count(f.Name, "/") == 1:
			format = program.Wheel
		default:
			continue
		}
		r, err := f.Open()
		if err != nil {
			return program.None, nil
		}
		b, err := io.ReadAll(io.LimitReader(r, manifest.MaxSize))
		_ = r.Close() // an error here is one of reading on, which is not wanted
		if err != nil {
			return program.None, nil
		}
		return format, b
	}
	return program.None, nil
}

// asarFile returns the content of a file, nil when it is not there.
func asarFile(n *asarNode, files []byte) []byte {
	if n == nil {
		return nil
	}
	at, ok := n.place(files)
	if !ok {
		return nil
	}
	return files[at : at+n.Size]
}
