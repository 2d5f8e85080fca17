// Command scan measures what a full scan of a tree costs, side by side with clamscan and yara, which look for the same tokens, and with
// sha256sum, which only reads and hashes; how fast a tree is looked through again; and how many disguised samples are found. It says of each
// whether the goal is met, and its exit status is 1 when one is not.
//
//	go run ./bench/scan FOLDER [BINARY [TREE]]
//
// The texts are the catalog's, and made ones that bring them to 300. BINARY is chaperone (default: bin/chaperone). clamscan is Debian's clamav. Each runs once before it is measured, so that all read from
// the page cache, and then three times, of which the cheapest counts. What is compared is user CPU: it does not depend on who else uses the machine's disk. TREE (none without it) is scanned
// again, and the files that are only asked whether they changed are counted by the time of the clock.
package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

func main() {
	sandbox.Child(os.Args, []sandbox.Parser{reveal.Parser()})
	if len(os.Args) == 4 && os.Args[1] == scanWord {
		if err := scanOnce(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "scan:", err)
			os.Exit(2)
		}
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: scan FOLDER [BINARY]")
		os.Exit(2)
	}
	binary := "bin/chaperone"
	if len(os.Args) > 2 {
		binary = os.Args[2]
	}
	tree := ""
	if len(os.Args) > 3 {
		tree = os.Args[3]
	}
	g := &goals{out: os.Stdout}
	if err := run(os.Stdout, g, os.Args[1], binary); err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		os.Exit(2)
	}
	if tree != "" {
		if err := again(g, binary, tree); err != nil {
			fmt.Fprintln(os.Stderr, "scan:", err)
			os.Exit(2)
		}
	}
	if err := disguised(g); err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		os.Exit(2)
	}
	if g.missed > 0 {
		os.Exit(1)
	}
}

func run(out io.Writer, g *goals, folder, binary string) error {
	dir, err := os.MkdirTemp("", "bench-scan")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	app := filepath.Join(dir, "bench.yaml")
	c, err := widerCatalog(app)
	if err != nil {
		return err
	}
	signatures := filepath.Join(dir, "catalog.ndb")
	if err := os.WriteFile(signatures, []byte(clamSignatures(c.Tokens())), 0o600); err != nil {
		return err
	}
	rules := filepath.Join(dir, "catalog.yar")
	if err := os.WriteFile(rules, []byte(yaraRules(c.Tokens())), 0o600); err != nil {
		return err
	}
	files, bytes, err := count(folder)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d files, %.0f MB, %d texts, each as it is and in UTF-16\n", folder, files, float64(bytes)/1e6, len(c.Tokens()))
	shipped, err := measure(binary, "scan", "--json", folder)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, err := measure(self, scanWord, folder, app)
	if err != nil {
		return err
	}
	shipped.print(out, "as shipped", files, bytes, ours)
	ours.print(out, "chaperone scan", files, bytes, ours)
	for _, peer := range []struct {
		name  string
		share float64 // of its user CPU that ours is to be at most; 0 for no goal
		words []string
	}{
		{"clamscan", 1.0 / 6, []string{"clamscan", "-r", "--quiet", "--database=" + signatures, "--max-filesize=1000M", "--max-scansize=1000M", folder}},
		{"yara", 1.0 / 2, []string{"yara", "-r", "-w", "-p", strconv.Itoa(runtime.GOMAXPROCS(0)), rules, folder}},
		{"sha256sum", 0, []string{"find", folder, "-type", "f", "-exec", "sha256sum", "{}", "+"}},
	} {
		if _, err := exec.LookPath(peer.words[0]); err != nil {
			fmt.Fprintf(out, "%-15s not installed\n", peer.name)
			continue
		}
		theirs, err := measure(peer.words[0], peer.words[1:]...)
		if err != nil {
			return err
		}
		theirs.print(out, peer.name, files, bytes, ours)
		if peer.share > 0 {
			g.atMost("user CPU of a full scan, of that of "+peer.name, ours.user.Seconds()/max(theirs.user.Seconds(), 0.001), peer.share)
		}
	}
	return nil
}

// clamSignatures writes tokens as extended signatures of ClamAV, in both encodings.
func clamSignatures(tokens []catalog.Token) string {
	var b strings.Builder
	for i, t := range tokens {
		var wide []byte
		for _, u := range utf16.Encode([]rune(t.Text)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		fmt.Fprintf(&b, "Token.%d:0:*:%s\nToken.%dW:0:*:%s\n", i, hex.EncodeToString([]byte(t.Text)), i, hex.EncodeToString(wide))
	}
	return b.String()
}

// yaraRules writes tokens as a rule of YARA for each, in both encodings.
func yaraRules(tokens []catalog.Token) string {
	var b strings.Builder
	for i, t := range tokens {
		fmt.Fprintf(&b, "rule token_%d { strings: $a = \"%s\" ascii wide condition: $a }\n", i, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t.Text))
	}
	return b.String()
}

func count(folder string) (files, bytes int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		bytes += info.Size()
		return nil
	})
	return files, bytes, err
}

// cost is what a run took, its children included.
type cost struct{ user, system, wall time.Duration }

// measure runs a command four times and returns what the cheapest run but the first cost: others use the machine too. Exit status 1 means
// that something was found.
func measure(name string, args ...string) (cost, error) {
	var best cost
	for i := range 4 {
		cmd := exec.Command(name, args...)
		begun := time.Now()
		err := cmd.Run()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > 1 {
			return cost{}, fmt.Errorf("%s: %w", name, err)
		}
		if c := (cost{cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime(), time.Since(begun)}); i == 1 || i > 1 && c.user < best.user {
			best = c
		}
	}
	return best, nil
}

func (c cost) print(out io.Writer, name string, files, bytes int64, ours cost) {
	fmt.Fprintf(out, "%-15s user %6.2f s  system %6.2f s  wall %6.2f s  %8.0f files/s  %6.0f MB/s  our user CPU is %.2f of it\n",
		name, c.user.Seconds(), c.system.Seconds(), c.wall.Seconds(), float64(files)/c.wall.Seconds(), float64(bytes)/1e6/c.wall.Seconds(),
		ours.user.Seconds()/max(c.user.Seconds(), 0.001))
}
