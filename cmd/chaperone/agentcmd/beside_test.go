package agentcmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestElectronOfAnother starts a stock Electron that belongs to root, and lies beside another app for us: who has mounts of his own puts a messenger there,
// as an archive and as a folder. It is not started, also after it was allowed.
func TestElectronOfAnother(t *testing.T) {
	if !namespace(t) {
		return
	}
	f := newField(t)
	lay := func(name, file, text string) string {
		t.Helper()
		path := filepath.Join(f.dir, name, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f.write(path, text, 0o644)
		return filepath.Join(f.dir, name)
	}
	good := lay("good", "resources/app.asar", asar("an editor"))
	runtime := f.program(filepath.Join(good, "electron"), "x ELECTRON_RUN_AS_NODE x")
	archive := lay("archive", "app.asar", asar(messenger))
	lay("folder", "app/main.js", messenger)
	folder := lay("folder", "app/package.json", `{"name":"an-editor"}`)
	f.start()
	for range 3 {
		f.want(runtime, true)
	}
	for _, resources := range []string{archive, folder} {
		script := `mount --bind "$1" "$2/resources" && ls "$2/resources" && ! "$2/electron"`
		out, err := exec.Command("unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", resources, good).CombinedOutput()
		if strings.Contains(string(out), "unshare failed") {
			t.Skipf("no user namespaces here: %s", out)
		}
		if err != nil || !strings.Contains(string(out), "not permitted") {
			t.Errorf("%s: %v\n%s", resources, err, out)
		}
	}
	f.want(runtime, true)
	lay("good", "resources/app/main.js", messenger)
	lay("good", "resources/app/package.json", `{"name":"an-editor"}`)
	f.want(runtime, false)
}
