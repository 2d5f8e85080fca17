package quarantine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/endpoint/history"
	"github.com/chaperone-im/chaperone/internal/event"
)

const (
	historySuffix = ".history"
	maxSeal       = 1 << 20
)

// Seal says what a store of conversations was before a messenger was removed: enough to prove later that it is, or is not, what it was.
// Field names are API.
type Seal struct {
	ID            string    `json:"id"`
	Time          time.Time `json:"time"`
	Host          string    `json:"host"`
	App           string    `json:"app"`
	Path          string    `json:"path"`
	UID           uint32    `json:"uid"`
	Owner         string    `json:"owner,omitempty"` // on Windows, where uid says nothing: the security identifier
	Device        uint64    `json:"device"`
	Inode         uint64    `json:"inode"`
	Folder        bool      `json:"folder"`
	Files         int64     `json:"files"`
	Size          int64     `json:"size"`
	Unread        int64     `json:"unread,omitempty"`
	ModifiedFirst time.Time `json:"modified_first,omitzero"`
	ModifiedLast  time.Time `json:"modified_last,omitzero"`
	SHA256        string    `json:"sha256"`
	Whole         bool      `json:"whole"` // the digest covers all contents
}

// SealHistory describes a store of conversations, keeps the description beside what is in quarantine, and records it. Nothing of the store is
// changed or moved. Whoever removes a messenger must do this first, and must not remove it when this fails.
func (s *Store) SealHistory(ctx context.Context, p history.Place) (Seal, error) {
	d, err := history.Describe(ctx, p.Path)
	if err != nil {
		return Seal{}, fmt.Errorf("seal %s: %w", p.Path, err)
	}
	seal := Seal{ID: string(event.NewID()), Time: s.opts.Now().UTC(), Host: s.opts.Host.Name, App: p.App, Path: strings.ToValidUTF8(p.Path, "\uFFFD"),
		UID: d.UID, Device: d.Dev, Inode: d.Ino, Folder: d.Folder, Files: d.Files, Size: d.Size, Unread: d.Unread,
		ModifiedFirst: d.First, ModifiedLast: d.Last, SHA256: d.SHA256, Whole: d.Whole}
	if strings.HasPrefix(d.Owner, "S-") {
		seal.Owner = d.Owner
	}
	b, err := json.MarshalIndent(seal, "", " ")
	if err == nil {
		err = s.writeFile(seal.ID+historySuffix, b)
	}
	if err != nil {
		return Seal{}, fmt.Errorf("seal %s: %w", p.Path, err)
	}
	if err := s.recordSeal(ctx, &seal); err != nil {
		return Seal{}, errors.Join(err, unlink(s.dir, seal.ID+historySuffix))
	}
	return seal, nil
}

func (s *Store) recordSeal(ctx context.Context, x *Seal) error {
	if s.opts.Recorder == nil {
		return nil
	}
	e := &event.Event{ID: event.NewID(), Kind: event.Act, Phase: "quarantine.seal", Time: x.Time, Received: x.Time, Connector: "quarantine",
		Host: s.opts.Host, From: s.opts.Account, Content: event.Content{
			Act: &event.ActDetail{Action: "quarantine.seal", Object: x.Path, Details: []event.Fact{
				{Name: "id", Value: x.ID}, {Name: "app", Value: x.App}, {Name: "sha256", Value: x.SHA256}, {Name: "whole", Value: strconv.FormatBool(x.Whole)},
				{Name: "device", Value: strconv.FormatUint(x.Device, 10)}, {Name: "inode", Value: strconv.FormatUint(x.Inode, 10)},
				{Name: "uid", Value: strconv.FormatUint(uint64(x.UID), 10)}, {Name: "files", Value: strconv.FormatInt(x.Files, 10)},
				{Name: "modified_last", Value: x.ModifiedLast.Format(time.RFC3339)},
			}},
			Program: &event.Program{Path: x.Path, App: x.App, Form: "history", SHA256: x.SHA256, Size: x.Size},
		}}
	if err := s.opts.Recorder.Record(ctx, e); err != nil {
		return fmt.Errorf("seal: record: %w", err)
	}
	return nil
}

// Seals returns what was sealed, the oldest first.
func (s *Store) Seals() ([]Seal, error) {
	names, err := s.names(historySuffix)
	if err != nil {
		return nil, err
	}
	var out []Seal
	for _, name := range names { // ids are in the order of time
		f, err := openFile(s.dir, name)
		if err != nil {
			return nil, fmt.Errorf("quarantine: seal: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxSeal))
		_ = f.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("quarantine: seal: %w", err)
		}
		x, err := ParseSeal(b)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// ParseSeal reads a seal.
func ParseSeal(b []byte) (Seal, error) {
	var x Seal
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		return Seal{}, fmt.Errorf("quarantine: seal: %w", err)
	}
	if x.ID == "" || x.SHA256 == "" || !filepath.IsAbs(x.Path) {
		return Seal{}, errors.New("quarantine: seal: id, path or digest is missing")
	}
	return x, nil
}

// writeFile writes a file of the folder durably: beside the old one, then in its place.
func (s *Store) writeFile(name string, b []byte) error {
	f, err := writeNew(s.dir, name+".new")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = replace(s.dir, name+".new", name)
	}
	return errors.Join(err, syncDir(s.dir))
}
