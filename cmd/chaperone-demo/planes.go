package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/scan/scantest"
	"github.com/chaperone-im/chaperone/internal/network/flow/flowtest"
	"github.com/chaperone-im/chaperone/internal/program/programtest"
)

// capture writes a generated capture of Alice's machine.
func (s *stage) capture(name, client string, write func(io.Writer, netip.Addr, time.Time) error) (string, error) {
	path := filepath.Join(s.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return path, write(f, netip.MustParseAddr(client), time.Now())
}

func (s *stage) captures() error {
	path, err := s.capture("generated.pcap", "10.77.0.99", flowtest.WriteDemo)
	if err != nil {
		return err
	}
	node, err := s.capture("skype.pcap", "10.77.0.98", flowtest.WriteSkype)
	if err != nil {
		return err
	}
	s.say("generated.pcap is made here by our own and real protocol code, skype.pcap by our own as the published analyses describe classic Skype; their packets never were on a wire.")
	if _, err := s.prove([]string{"whatsapp", "telegram", "mtproto", "skype", "skype-classic-udp"}, "inspect", path, node); err != nil {
		return err
	}
	for _, name := range []string{"ndpi__whatsapp_login_call.pcap", "ndpi__telegram_videocall.pcapng", "ndpi_old__skype__d8c85f50.pcap"} {
		real := filepath.Join(s.corpus, "pcap", name)
		if _, err := os.Stat(real); err != nil {
			continue
		}
		s.say("And a real capture, %s:", name)
		out, err := s.chaperone("inspect", real)
		if err != nil {
			return err
		}
		s.show(head(out, 12))
	}
	return nil
}

// head returns the first lines of a text.
func head(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n], "") + fmt.Sprintf("… %d more lines\n", len(lines)-n)
}

func (s *stage) folder() error {
	dir := filepath.Join(s.dir, "downloads")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path, err := scantest.WriteRenamedInstaller(dir)
	if err != nil {
		return err
	}
	s.say("%s is an installer, made here, under a name that says nothing.", filepath.Base(path))
	_, err = s.prove([]string{filepath.Base(path), "block"}, "scan", dir)
	return err
}

// join is the story that nobody else can tell.
func (s *stage) join() error {
	if err := s.alice.Say(s.ctx, "bob@example.org", "venue", "let's move this to WhatsApp"); err != nil {
		return err
	}
	if _, err := s.hears(s.bob, "venue"); err != nil {
		return err
	}
	s.say("Alice wrote: let's move this to WhatsApp. It was delivered, and marked for review.")
	path, err := s.capture("laptop-17.pcap", aliceAddress, flowtest.WriteDemo)
	if err != nil {
		return err
	}
	disk := filepath.Join(s.dir, "laptop-17")
	client := programtest.PE(map[string]string{"ProductName": "WhatsApp", "CompanyName": "WhatsApp LLC", "ProductVersion": "2.2446.8.0", "OriginalFilename": "WhatsApp.exe"})
	if err := errors.Join(os.MkdirAll(disk, 0o755), os.WriteFile(filepath.Join(disk, "notes.dat"), client, 0o644)); err != nil {
		return err
	}
	s.say("A capture of her machine and her disk, both generated, are looked at and recorded:")
	if _, err := s.chaperone("inspect", "--config", s.config(), "--host", "laptop-17", path); err != nil {
		return err
	}
	if _, err := s.chaperone("scan", "--config", s.config(), "--host", "laptop-17", disk); err != nil {
		return err
	}
	_, err = s.prove([]string{"let's move this to WhatsApp", "flow", "whatsapp web", "finding", "notes.dat"}, append([]string{"person", "alice"}, s.reading()...)...)
	return err
}
