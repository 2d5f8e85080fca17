package handle_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
)

func TestOpen(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := errors.Join(os.WriteFile(file, []byte("content"), 0o600), os.Mkdir(filepath.Join(dir, "sub"), 0o700)); err != nil {
		t.Fatal(err)
	}
	above, err := handle.Open(nil, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	f, err := handle.Open(above, "file", file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "content" || err != nil || f.Name() != file {
		t.Errorf("%q, %v, %s", b, err, f.Name())
	}
	opened, err := handle.Stat(f)
	if err != nil || opened.Kind != handle.Regular || opened.Size != 7 || opened.Owner() == "" || opened.Modified == 0 || opened.Links != 1 || opened.Away != "" {
		t.Errorf("%+v, %v", opened, err)
	}
	named, err := handle.StatAt(above, "file")
	if err != nil || named.Dev != opened.Dev || named.Ino != opened.Ino {
		t.Errorf("%+v, %v", named, err)
	}
	if sub, err := handle.StatAt(above, "sub"); err != nil || sub.Kind != handle.Folder || sub.Ino == opened.Ino {
		t.Errorf("%+v, %v", sub, err)
	}
	if entries, err := above.ReadDir(-1); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := handle.Open(above, "none", "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening nothing: %v", err)
	}
	if _, err := handle.StatAt(above, "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking at nothing: %v", err)
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	above, err := handle.Open(nil, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer above.Close()
	if _, err := handle.Open(above, "link", "link"); !errors.Is(err, handle.ErrLink) {
		t.Errorf("opened: %v", err)
	}
	if i, err := handle.StatAt(above, "link"); err != nil || i.Kind != handle.Link {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := handle.Private(dir); err != nil {
			t.Skip("not as this user:", err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOnlyAdministrators(t *testing.T) {
	const (
		admins, system, users = "S-1-5-32-544", "S-1-5-18", "S-1-5-32-545"
		installer             = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
		creator               = "S-1-3-0"
		full, read            = 0x1f01ff, 0x1200a9
	)
	allow := func(sid string, mask uint32) handle.Access { return handle.Access{SID: sid, Mask: mask} }
	for name, c := range map[string]struct {
		owner       string
		list        []handle.Access
		file, above bool // may be trusted as the file or its folder, and as one further up
	}{
		"as Windows has its own":   {installer, []handle.Access{allow(installer, full), allow(admins, read), allow(system, read), allow(users, read)}, true, true},
		"program files":            {installer, []handle.Access{allow(admins, full), allow(users, read), {SID: creator, Mask: full, Flags: 0xb}}, true, true},
		"a user's own":             {"S-1-5-21-1-2-3-1001", []handle.Access{allow(admins, full)}, false, false},
		"users write":              {admins, []handle.Access{allow(users, read|0x2)}, false, true},
		"users make folders, as C": {system, []handle.Access{allow(admins, full), allow("S-1-5-11", 0x4)}, false, true},
		"users delete below":       {admins, []handle.Access{allow(users, 0x40)}, false, false},
		"users change the list":    {admins, []handle.Access{allow(users, 0x40000)}, false, false},
		"users generic write":      {admins, []handle.Access{allow(users, 0x40000000)}, false, false},
		"denied":                   {admins, []handle.Access{{Type: 1, SID: users, Mask: full}}, true, true},
		"conditional":              {admins, []handle.Access{{Type: 9, SID: admins, Mask: read}}, false, false},
		"creator here":             {admins, []handle.Access{allow(creator, full)}, false, false},
		"nobody":                   {admins, nil, true, true},
		"no owner":                 {"", nil, false, false},
	} {
		for _, above := range []bool{false, true} {
			want := c.file
			if above {
				want = c.above
			}
			if err := handle.OnlyAdministrators(c.owner, c.list, above); (err == nil) != want || err != nil && !errors.Is(err, handle.ErrWritable) {
				t.Errorf("%s, above %v: %v", name, above, err)
			}
		}
	}
}
