package scantest

import (
	"bytes"
	"os"
	"testing"
)

func TestWriteRenamedInstaller(t *testing.T) {
	path, err := WriteRenamedInstaller(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte("MZ")) {
		t.Errorf("%v, %d bytes", err, len(b))
	}
	if _, err := WriteRenamedInstaller(path); err == nil {
		t.Error("a file was taken for a folder")
	}
}
