package classify_test

import (
	"encoding/csv"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/network/classify"
	"github.com/chaperone-im/chaperone/internal/network/flow"
)

// corpus returns the folder of labelled captures, or skips.
func corpus(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("CHAPERONE_CORPUS")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	folder = filepath.Join(folder, "pcap")
	if _, err := os.Stat(filepath.Join(folder, "labels.csv")); err != nil {
		t.Skipf("no labelled captures: set CHAPERONE_CORPUS: %v", err)
	}
	return folder
}

// endpoints returns a key for two endpoints without direction.
func endpoints(capture, proto, a, b string) string {
	pair := []string{netip.MustParseAddrPort(a).String(), netip.MustParseAddrPort(b).String()}
	slices.Sort(pair)
	return capture + " " + proto + " " + pair[0] + " " + pair[1]
}

// TestCorpus reads every capture without an error that is not its own, and keeps recall and precision from falling.
func TestCorpus(t *testing.T) {
	folder := corpus(t)
	cat, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	names, err := filepath.Glob(filepath.Join(folder, "*.*cap*"))
	if err != nil || len(names) < 100 {
		t.Fatalf("%d captures, %v", len(names), err)
	}
	for _, name := range names {
		base := filepath.Base(name)
		k := classify.New(cat, classify.Options{Capture: base, Report: func(f *classify.Finding) {
			key := endpoints(base, f.Flow.Proto, f.Flow.Client, f.Flow.Server)
			found[key] = append(found[key], f.Flow.App, f.Flow.App+"_"+f.Flow.Service)
		}})
		if err := readFile(t, name, k); err != nil && !errors.Is(err, flow.ErrCut) && !strings.Contains(name, "_fuzz") {
			t.Errorf("%s: %v", base, err)
		}
	}
	right, wrong, missed, false_ := score(t, filepath.Join(folder, "labels.csv"), found)
	precision, recall := float64(right)/float64(right+wrong+false_), float64(right)/float64(right+wrong+missed)
	t.Logf("right %d, wrong %d, missed %d, false %d: precision %.3f, recall %.3f", right, wrong, missed, false_, precision, recall)
	if precision < 0.99 || recall < 0.97 {
		t.Errorf("recognition fell: precision %.3f, recall %.3f", precision, recall)
	}
}

func readFile(t *testing.T, name string, k flow.Handler) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = flow.ReadCapture(t.Context(), f, flow.NewTracker(k, flow.Limits{}))
	return err
}

// score counts flows that are not DNS as the corpus's own tool does.
func score(t *testing.T, path string, found map[string][]string) (right, wrong, missed, false_ int) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range head {
		column[name] = i
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return right, wrong, missed, false_
		}
		if err != nil {
			t.Fatal(err)
		}
		get := func(name string) string { return row[column[name]] }
		label, accept := get("label"), strings.Split(get("accept"), "|")
		if c := get("confidence"); c != "high" && c != "medium" || label == "unknown" || get("kind") == "dns" {
			continue
		}
		join := func(ip, port string) string { return netip.MustParseAddr(get(ip)).String() + "|" + get(port) }
		key := endpoints(get("capture"), get("proto"), endpoint(join("client_ip", "client_port")), endpoint(join("server_ip", "server_port")))
		claims := slices.DeleteFunc(slices.Clone(found[key]), func(s string) bool { return s == "" || strings.HasPrefix(s, "_") })
		hit := slices.ContainsFunc(claims, func(s string) bool { return s == label || slices.Contains(accept, s) })
		switch {
		case hit && label == "none", len(claims) == 0 && (label == "none" || slices.Contains(accept, "none")):
		case hit:
			right++
		case len(claims) == 0:
			missed++
		case label == "none":
			false_++
		default:
			wrong++
		}
	}
}

// endpoint joins an address and a port.
func endpoint(s string) string {
	ip, port, _ := strings.Cut(s, "|")
	if strings.Contains(ip, ":") {
		ip = "[" + ip + "]"
	}
	return ip + ":" + port
}
