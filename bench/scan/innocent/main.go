// Command innocent scans what is no messenger and counts what is taken for one: the system of this machine, hundreds of Debian packages (packed
// and unpacked) that are depended upon most and that are largest, and big programs by name. The messengers that Debian has must all be found.
//
//	go run ./bench/scan/innocent [-packages 300] [-chaperone bin/chaperone] [-tree /usr] [-dir DIR]
//
// Packages come through apt, a few at a time, and are deleted once scanned. Whether a finding is false is decided by the catalog's own list of
// package names and by Debian's word for which package a file belongs to, and which source a package is built from: never by a list of
// exceptions here. The exit status is 1 when something is false or missed.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/catalog"
)

//go:embed programs.txt
var programs string

// batch is how many packages are on the disk at one time.
const batch = 10

var errFalse = errors.New("something is false or missed")

func main() {
	r := runner{out: os.Stdout}
	n := flag.Int("packages", 300, "packages to draw, half by how many depend on them, half by size")
	flag.StringVar(&r.chaperone, "chaperone", "bin/chaperone", "program that is measured")
	flag.StringVar(&r.dir, "dir", os.TempDir(), "folder for packages while they are scanned")
	flag.Int64Var(&r.largest, "largest", 32, "MB that a package drawn by its size has at most")
	flag.StringVar(&r.only, "only", "", "one set of packages by its name, as \"big programs\", instead of all")
	tree := flag.String("tree", "/usr", "tree of this machine that is scanned as well; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := r.run(ctx, *tree, *n)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "innocent:", err)
		if errors.Is(err, errFalse) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

// runner scans and counts.
type runner struct {
	out            io.Writer
	chaperone, dir string
	largest        int64
	only           string          // set of packages; empty for all
	messengers     map[string]bool // sources that messengers are built from
}

func (r *runner) run(ctx context.Context, tree string, n int) error {
	all, err := available(ctx)
	if err != nil {
		return err
	}
	c, err := catalog.Default()
	if err != nil {
		return err
	}
	known := names(c)
	r.messengers = sources(all, known)
	bad := 0
	if tree != "" {
		wrong, err := r.system(ctx, tree)
		if err != nil {
			return err
		}
		bad += wrong
	}
	for _, set := range []struct {
		name  string
		found bool // each must be found
		list  []string
	}{
		{"big programs", false, lines(programs)},
		{"messengers", true, known},
		{"most depended upon", false, slices.Collect(depended(all, n/2))},
		{"largest", false, slices.Collect(largest(all, n-n/2, r.largest<<20))},
	} {
		if r.only != "" && r.only != set.name {
			continue
		}
		t, err := r.packages(ctx, all, set.list, set.found)
		if err != nil {
			return err
		}
		t.print(r.out, set.name)
		bad += t.wrong
		if set.found {
			bad += t.missed
		}
	}
	if bad > 0 {
		return errFalse
	}
	return nil
}

// names are the Debian packages that the catalog knows.
func names(c *catalog.Catalog) []string {
	var out []string
	for _, app := range c.Apps() {
		for i := range app.Programs.Linux {
			out = append(out, app.Programs.Linux[i].Deb...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// tally is what came of a set of packages.
type tally struct {
	packages, files, problems    int
	bytes                        int64
	wrong, right, missed, absent int
}

func (t *tally) print(out io.Writer, name string) {
	fmt.Fprintf(out, "%-20s %4d packages %8d files %9.1f MB  false %d  messengers %d  missed %d  could not be looked into %d  not in this release %d\n",
		name, t.packages, t.files, float64(t.bytes)/1e6, t.wrong, t.right, t.missed, t.problems, t.absent)
}

// packages scans packages batch by batch. With found, one in which nothing is found is missed.
func (r *runner) packages(ctx context.Context, all map[string]*pkg, list []string, found bool) (tally, error) {
	var t tally
	list = slices.DeleteFunc(slices.Clone(list), func(name string) bool {
		if all[name] == nil {
			t.absent++
			return true
		}
		return false
	})
	for some := range slices.Chunk(list, batch) {
		if err := r.some(ctx, all, some, found, &t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// some downloads a few packages, scans them packed and unpacked, and deletes them.
func (r *runner) some(ctx context.Context, all map[string]*pkg, list []string, found bool, t *tally) error {
	dir, err := os.MkdirTemp(r.dir, "innocent")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := fetch(ctx, all, dir, list); err != nil {
		return err
	}
	result, err := scan(ctx, r.chaperone, dir)
	if err != nil {
		return err
	}
	t.packages += len(list)
	t.files, t.bytes, t.problems = t.files+result.files, t.bytes+result.bytes, t.problems+len(result.problems)
	hit := map[string]bool{}
	for _, f := range result.findings {
		name := owner(dir, f.Path)
		if hit[name] = true; r.messengers[all[name].source] {
			continue
		}
		t.wrong++
		fmt.Fprintf(r.out, "FALSE: %s: %s\n", name, f)
	}
	for _, name := range list {
		switch {
		case hit[name] && r.messengers[all[name].source]:
			t.right++
		case found && !hit[name]:
			t.missed++
			fmt.Fprintf(r.out, "MISSED: %s\n", name)
		}
	}
	for _, p := range result.problems {
		fmt.Fprintf(r.out, "problem: %s\n", strings.TrimPrefix(p, dir+"/"))
	}
	return nil
}

// Folders for packages and for what is in them, below a name of each.
const debs, trees = "debs", "trees"

// owner is the package that path, below dir, is or belongs to.
func owner(dir, path string) string {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(path, dir+"/"), "/")
	end := "/"
	if kind == debs {
		end = "_"
	}
	name, _, _ := strings.Cut(rest, end)
	return name
}

// fetch downloads packages and unpacks them.
func fetch(ctx context.Context, all map[string]*pkg, dir string, list []string) error {
	packed := filepath.Join(dir, debs)
	if err := os.Mkdir(packed, 0o755); err != nil {
		return err
	}
	words := []string{"download", "-qq", "-o", "APT::Sandbox::User=root"}
	for _, name := range list {
		words = append(words, name+"="+all[name].version)
	}
	if err := command(ctx, packed, "apt-get", words...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(packed, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		tree := filepath.Join(dir, trees, owner(dir, f))
		if err := errors.Join(os.MkdirAll(tree, 0o755), command(ctx, dir, "dpkg-deb", "-x", f, tree)); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return nil
}

// system scans a tree of this machine. A finding is right when the package that the file belongs to is built from a messenger's source.
func (r *runner) system(ctx context.Context, tree string) (wrong int, err error) {
	result, err := scan(ctx, r.chaperone, tree)
	if err != nil {
		return 0, err
	}
	t := tally{files: result.files, bytes: result.bytes, problems: len(result.problems)}
	for _, f := range result.findings {
		if r.messengers[installed(ctx, f.Path)] {
			t.right++
			continue
		}
		t.wrong++
		fmt.Fprintf(r.out, "FALSE: %s\n", f)
	}
	for _, p := range result.problems {
		fmt.Fprintf(r.out, "problem: %s\n", p)
	}
	t.print(r.out, tree)
	return t.wrong, nil
}
