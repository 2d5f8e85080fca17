package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxSample  = 64 << 10 // larger ones take too long
	maxSamples = 40       // of one parser, the smallest
)

// sampled are the seeds in folders of files of others, by what they are. Files in text form (.uu, .base64) are decoded.
func sampled(dirs []string) (map[string][][]byte, error) {
	out := map[string][][]byte{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if info, err := d.Info(); err != nil || info.Size() > 2*maxSample {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			switch {
			case strings.HasSuffix(path, ".uu"):
				b = uudecode(b)
			case strings.HasSuffix(path, ".base64"):
				b, _ = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(b))) // none when it is no such text
			}
			if name := parserOf(b); name != "" && len(b) >= 16 && len(b) <= maxSample {
				out[name] = append(out[name], b)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("samples: %w", err)
		}
	}
	for name := range out {
		slices.SortStableFunc(out[name], func(a, b []byte) int { return cmp.Compare(len(a), len(b)) })
		out[name] = out[name][:min(len(out[name]), maxSamples)]
	}
	return out, nil
}

// uudecode reads the text form of uuencode: a line of length and sixes of bits, four characters for three bytes.
func uudecode(text []byte) []byte {
	var out []byte
	lines := bufio.NewScanner(bytes.NewReader(text))
	begun := false
	for lines.Scan() {
		line := lines.Bytes()
		if !begun {
			begun = bytes.HasPrefix(line, []byte("begin "))
			continue
		}
		if len(line) == 0 || string(line) == "end" {
			break
		}
		size := int(line[0]-' ') & 63
		var b []byte
		for at := 1; at+3 < len(line); at += 4 {
			v := uint32(line[at]-' ')&63<<18 | uint32(line[at+1]-' ')&63<<12 | uint32(line[at+2]-' ')&63<<6 | uint32(line[at+3]-' ')&63
			b = append(b, byte(v>>16), byte(v>>8), byte(v))
		}
		out = append(out, b[:min(size, len(b))]...)
	}
	return out
}

// gather makes all seeds once and keeps them in a folder, so that each input can be made again.
func gather(dir string, dirs []string) (missing []string, err error) {
	done := filepath.Join(dir, "complete")
	if _, err := os.Stat(done); err == nil {
		return nil, nil
	}
	own, err := written()
	if err != nil {
		return nil, err
	}
	tools, missing, err := cooked()
	if err != nil {
		return nil, err
	}
	others, err := sampled(dirs)
	if err != nil {
		return nil, err
	}
	for _, p := range parsers() {
		folder := filepath.Join(dir, p.name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
		for i, b := range slices.Concat(own[p.name], tools[p.name], others[p.name]) {
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d", i)), b, 0o644); err != nil {
				return nil, err
			}
		}
	}
	return missing, os.WriteFile(done, nil, 0o644)
}

var errNoSeeds = errors.New("no seeds: a tool or a folder of samples is needed")

// seedsOf reads the seeds of one parser.
func seedsOf(dir, name string) ([]seed, error) {
	files, err := filepath.Glob(filepath.Join(dir, name, "*"))
	if err != nil {
		return nil, err
	}
	var out []seed
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		out = append(out, newSeed(b))
	}
	if len(out) == 0 {
		return nil, errNoSeeds
	}
	return out, nil
}
