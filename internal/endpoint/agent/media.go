package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-im/chaperone/internal/endpoint/exec/mounts"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy"
)

const (
	removable  = "removable" // scan's word
	mediaTime  = time.Hour   // how long one medium may be scanned
	mediaScans = 2           // at a time
	mediaLook  = 1000        // milliseconds until the end of the context is seen
)

// watchMedia looks at each removable medium that is mounted: it is on record who it is, and what is on it.
func (a *Agent) watchMedia(ctx context.Context) error {
	table, err := openMountTable(ownMounts)
	if err != nil {
		return err
	}
	defer table.close()
	present := map[string]bool{}
	var scans sync.WaitGroup
	defer scans.Wait()
	slots := make(chan struct{}, mediaScans)
	for ctx.Err() == nil {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		now := map[string]bool{}
		a.current().MountsChanged()
		for _, m := range mounts.Parse(b) {
			if now[m.Device] = true; !present[m.Device] && mounts.Local(m.Kind) {
				if a.mounted(&m) {
					scans.Go(func() { a.scanMedium(ctx, m.Point, slots) })
				}
			}
		}
		present = now
		for ctx.Err() == nil {
			changed, err := table.changed(mediaLook)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
			if changed {
				break
			}
		}
	}
	return nil
}

func (a *Agent) current() *scan.Scanner {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.scanner
}

// mounted reports a medium, and whether it is a removable one.
func (a *Agent) mounted(m *mounts.Mount) bool {
	device, err := parseDevice(m.Device)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if unix.Stat(m.Point, &st) == nil && unix.Major(uint64(st.Dev)) == 0 {
		device = uint64(st.Dev) // file systems such as btrfs number themselves
	}
	if a.current().Medium(device) != removable {
		return false
	}
	now := time.Now()
	e := &event.Event{ID: event.NewID(), Kind: event.MediaIn, Time: now, Received: now, Connector: "agent", Host: a.o.Host}
	e.Media = a.describe(m)
	a.mu.Lock()
	rules := a.rules
	a.mu.Unlock()
	e.Verdict = rules.Policy.Decide(&policy.Input{Event: e, Now: now, Final: true})
	a.spool.Put(e)
	a.log.Info("removable medium", "device", e.Media.Device, "serial", e.Media.Serial, "mount", m.Point)
	return true
}

// scanMedium looks through a medium; what it finds is spooled by the scanner's recorder.
func (a *Agent) scanMedium(ctx context.Context, point string, slots chan struct{}) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mediaTime)
	defer cancel()
	sum, err := a.current().Scan(ctx, []string{point}, func(scan.Result) error { return nil })
	if err != nil {
		a.log.Warn("scan of a medium", "mount", point, "error", err.Error())
		return
	}
	a.log.Info("medium scanned", "mount", point, "files", sum.Files, "findings", sum.Findings, "errors", sum.Errors)
}

// Removable reports whether a device, by its number as the mount table has it, may be carried away.
func Removable(device string) bool {
	n, err := parseDevice(device)
	return err == nil && scan.Medium("", n) == removable
}

func parseDevice(s string) (uint64, error) {
	major, minor, ok := strings.Cut(s, ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("device %q", s)
	}
	return unix.Mkdev(uint32(a), uint32(b)), nil
}

// describe says which medium it is, by what the device says of itself.
func (a *Agent) describe(m *mounts.Mount) *event.Media {
	out := &event.Media{Device: m.Source, Mount: m.Point, Label: label(m.Source)}
	sys := a.o.Sys
	if sys == "" {
		sys = "/sys"
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", m.Device))
	if err != nil {
		return out
	}
	var names []string
	for range 12 { // partition, disk, target, host, interface, device
		if len(names) == 0 {
			names = texts(filepath.Join(dir, "device"), "vendor", "model")
		}
		if len(names) == 0 {
			names = texts(dir, "manufacturer", "product")
		}
		if s := texts(dir, "serial", "device/serial"); out.Serial == "" && len(s) > 0 {
			out.Serial = s[0]
		}
		if dir = filepath.Dir(dir); dir == sys || dir == "/" || dir == "." {
			break
		}
	}
	if len(names) > 0 {
		out.Device += " (" + strings.Join(names, " ") + ")"
	}
	return out
}

// texts reads short files of sysfs.
func texts(dir string, names ...string) []string {
	var out []string
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if text := strings.TrimSpace(string(b[:min(len(b), 256)])); err == nil && text != "" {
			out = append(out, strings.ToValidUTF8(text, ""))
		}
	}
	return out
}

// label is the name that the file system bears, as udev links it.
func label(source string) string {
	links, _ := filepath.Glob("/dev/disk/by-label/*") // the pattern is good
	for _, l := range links {
		if real, err := filepath.EvalSymlinks(l); err == nil && real == source {
			return filepath.Base(l)
		}
	}
	return ""
}
