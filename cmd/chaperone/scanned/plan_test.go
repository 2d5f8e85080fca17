package scanned

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goodPlan = `{"type":"plan","version":1,"host":"h","time":"2026-11-25T00:00:00Z","remove":true,"policy":"p","catalog":"c","acts":[
{"type":"act","action":"none","path":"/n","planned":{"app":"","owner":"","device":0,"inode":0,"size":0,"sha256":"","rule":"","confidence":0,"undo":""}},
{"type":"act","action":"remove","path":"/a","planned":{"app":"x","owner":"o","device":1,"inode":2,"size":3,"sha256":"s","rule":"r","confidence":0.9,"undo":""}},
{"type":"act","action":"quarantine","path":"/b\ufffd","path_base64":"L2L/","planned":{"app":"x","owner":"o","device":1,"inode":2,"size":3,"sha256":"s","rule":"r","confidence":0.9,"undo":""}}]}`

func TestParsePlan(t *testing.T) {
	p, err := ParsePlan([]byte(goodPlan))
	if err != nil || !slices.Equal(p.Paths(), []string{"/a", "/b\xff"}) {
		t.Fatalf("%q, %v", p.Paths(), err)
	}
	for _, change := range [][2]string{{`"version":1`, `"version":2`}, {`"type":"plan"`, `"type":"act"`}, {`"action":"remove"`, `"action":"shell"`}, {`"/a"`, `"a"`},
		{`"/a"`, `"/a\u0000"`}, {`L2L/`, `%`}, {`"host"`, `"hosts"`}, {`"planned":{`, `"planned":null,"x":{`}} {
		if _, err := ParsePlan([]byte(strings.Replace(goodPlan, change[0], change[1], 1))); err == nil {
			t.Errorf("%s for %s was taken", change[1], change[0])
		}
	}
}

// TestShort keeps what people read short, and its end, which tells most.
func TestShort(t *testing.T) {
	long := "/home/" + strings.Repeat("ä folder/", 100) + "last.exe"
	got := []rune(Short(long))
	if len(got) != maxName || !strings.HasPrefix(string(got), "/home/ä folder/") || !strings.HasSuffix(string(got), "folder/last.exe") || !strings.Contains(string(got), " … ") {
		t.Errorf("%d characters: %s", len(got), string(got))
	}
	if got := Short("/a\nb"); got != "/a␊b" {
		t.Errorf("%q", got)
	}
}

func TestWritePlan(t *testing.T) {
	p, err := ParsePlan([]byte(goodPlan))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan")
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(path); err == nil {
		t.Error("a plan was overwritten")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	back, err := ReadPlan(path)
	if err != nil || len(back.Acts) != 3 || back.Acts[1].Planned.Inode != 2 {
		t.Errorf("%+v, %v", back, err)
	}
	if _, err := ReadPlan(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a plan that is not there was read")
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(goodPlan))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlan(b)
		if err != nil {
			return
		}
		for _, path := range p.Paths() {
			if !strings.HasPrefix(path, "/") {
				t.Errorf("path %q", path)
			}
		}
		if _, err := json.Marshal(p); err != nil && !strings.Contains(err.Error(), "Time") {
			t.Error(err)
		}
	})
}
