package main

import (
	"bytes"
	_ "embed" // the table of disputes
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket/pcapgo"
)

// disputedTable holds the labels that the bytes of their captures disprove. All other figures are by the labels as they are given.
//
//go:embed disputed.csv
var disputedTable string

// dispute says of a flow that it is not what its label says.
type dispute struct {
	capture, flow, is, because string
	key                        string
	proofs                     []proof
}

// proof is bytes that stand in a packet, of which the capture's first is 1.
type proof struct {
	packet int
	bytes  []byte
}

// readDisputes reads the table: capture, proto, both ends, the messenger, PACKET:HEX of each proof, and the reason.
func readDisputes(table string) ([]dispute, error) {
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("disputed labels: %w", err)
	}
	var out []dispute
	for _, row := range rows[min(len(rows), 1):] {
		one, errOne := netip.ParseAddrPort(row[2])
		other, errOther := netip.ParseAddrPort(row[3])
		d := dispute{capture: row[0], flow: row[1] + " " + row[2] + " " + row[3], is: row[4], because: row[6], key: flowKey(row[0], row[1], one, other)}
		if err := errors.Join(errOne, errOther); err != nil {
			return nil, fmt.Errorf("disputed labels: %w", err)
		}
		for text := range strings.FieldsSeq(row[5]) {
			number, digits, _ := strings.Cut(text, ":")
			n, errN := strconv.Atoi(number)
			b, errB := hex.DecodeString(digits)
			if err := errors.Join(errN, errB); err != nil || len(b) == 0 {
				return nil, fmt.Errorf("disputed labels: %q proves nothing: %w", text, err)
			}
			d.proofs = append(d.proofs, proof{n, b})
		}
		out = append(out, d)
	}
	return out, nil
}

// corrected returns the pairs with the labels put right that the captures in a folder disprove, and those disputes. A dispute whose proof is not
// in the capture is an error; one of which there is no label is left out.
func corrected(folder string, pairs []pair, disputes []dispute) ([]pair, []dispute, error) {
	out := append([]pair(nil), pairs...)
	var applied []dispute
	for _, d := range disputes {
		for i := range out {
			if out[i].label.key != d.key {
				continue
			}
			if err := d.check(folder); err != nil {
				return nil, nil, err
			}
			l := *out[i].label
			l.app = d.is
			out[i].label = &l
			applied = append(applied, d)
		}
	}
	return out, applied, nil
}

// check looks the proofs up in the capture.
func (d dispute) check(folder string) error {
	f, err := os.Open(filepath.Join(folder, d.capture))
	if err != nil {
		return err
	}
	defer f.Close()
	packets, err := openPackets(f)
	if err != nil {
		return fmt.Errorf("%s: %w", d.capture, err)
	}
	left := len(d.proofs)
	for n := 1; left > 0; n++ {
		data, err := packets()
		if err != nil {
			return fmt.Errorf("%s, %s: %d of its proofs are in no packet: %w", d.capture, d.flow, left, err)
		}
		for _, p := range d.proofs {
			if p.packet != n {
				continue
			}
			if left--; !bytes.Contains(data, p.bytes) {
				return fmt.Errorf("%s, %s: packet %d does not hold %x", d.capture, d.flow, n, p.bytes)
			}
		}
	}
	return nil
}

// openPackets returns what reads the packets of a capture, one by one.
func openPackets(f io.ReadSeeker) (func() ([]byte, error), error) {
	if r, err := pcapgo.NewReader(f); err == nil {
		return func() ([]byte, error) { b, _, err := r.ReadPacketData(); return b, err }, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		return nil, err
	}
	return func() ([]byte, error) { b, _, err := r.ReadPacketData(); return b, err }, nil
}

// reportDisputes says which labels the captures disprove, and by what.
func (e *evaluation) reportDisputes(w io.Writer) {
	if len(e.disputes) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## Labels that the captures disprove\n\nThe claims on these flows count as false above, for their labels say that they are no messenger's. The bytes say otherwise; the evaluation\n"+
		"looks them up in the capture each time. The row \"labels put right\" counts these flows as what the bytes say, and all others as before.\n"+
		"Only what counts as a false claim was looked into: labels that count against recall stand as they are.\n\n"+
		"| capture | flow | label | is | packet: bytes | because |\n|---|---|---|---|---|---|\n")
	for _, d := range e.disputes {
		var where []string
		for _, p := range d.proofs {
			where = append(where, fmt.Sprintf("%d: `%x`", p.packet, p.bytes))
		}
		fmt.Fprintf(w, "| %s | %s | none | %s | %s | %s |\n", d.capture, d.flow, d.is, strings.Join(where, ", "), strings.ReplaceAll(strings.ReplaceAll(d.because, "<", "&lt;"), ">", "&gt;"))
	}
}
