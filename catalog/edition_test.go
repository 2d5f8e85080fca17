package catalog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-im/chaperone/catalog"
)

var write = flag.Bool("write", false, "write the day on which the files changed, when they did")

const (
	editionFile = "edition.go"
	digestFile  = "testdata/edition.sha256"
)

// digest is one of all files and their names.
func digest(t *testing.T) string {
	t.Helper()
	h := sha256.New()
	err := fs.WalkDir(catalog.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(catalog.Files, path)
		fmt.Fprintf(h, "%s %d\n", path, len(b))
		h.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestEdition: the edition is a day, and the files are those of that day.
func TestEdition(t *testing.T) {
	if _, err := time.Parse(time.DateOnly, catalog.Edition); err != nil {
		t.Error(err)
	}
	was, err := os.ReadFile(digestFile)
	if err != nil && !*write {
		t.Fatal(err)
	}
	is := digest(t)
	if strings.TrimSpace(string(was)) == is {
		return
	}
	if !*write {
		t.Fatal("the catalog changed: run make generate, so that the day of its edition is told")
	}
	b, err := os.ReadFile(editionFile)
	if err != nil {
		t.Fatal(err)
	}
	today := "const Edition = \"" + time.Now().UTC().Format(time.DateOnly) + "\""
	b = regexp.MustCompile(`const Edition = ".*"`).ReplaceAllLiteral(b, []byte(today))
	if err := os.WriteFile(editionFile, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(digestFile, []byte(is+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
