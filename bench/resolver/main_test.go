package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestQuestionsAreRefusedByBoth(t *testing.T) {
	suffixes, err := names()
	if err != nil || len(suffixes) < 100 {
		t.Fatalf("%d names, %v", len(suffixes), err)
	}
	questions := ask(suffixes, 50)
	if n := bytes.Count(questions, []byte("\n")); n != 50 {
		t.Errorf("%d questions", n)
	}
	conf := string(unboundConf("127.0.0.1:5300", t.TempDir(), suffixes))
	for line := range strings.Lines(string(questions)) {
		host, _, _ := strings.Cut(line, " ")
		_, suffix, _ := strings.Cut(host, ".")
		if !strings.Contains(conf, `local-zone: "`+suffix+`" always_nxdomain`) {
			t.Errorf("unbound would not refuse %s", host)
		}
	}
}

func TestRunRefusesBadUsage(t *testing.T) {
	if err := run([]string{"many"}); err == nil {
		t.Error("a count in words was accepted")
	}
}

func TestSmallRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	for _, name := range []string{"dnsperf", "/usr/sbin/unbound"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	binary := t.TempDir() + "/resolver"
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(binary, "500").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ratio") {
		t.Errorf("%v\n%s", err, out)
	}
}
