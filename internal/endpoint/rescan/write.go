package rescan

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// rewrite writes all that is known to a new file, in the place of the old one, and leaves it open at its end.
func (m *Memory) rewrite() error {
	if m.salt == nil {
		m.salt = make([]byte, sha256.Size)
		if _, err := rand.Read(m.salt); err != nil {
			return fmt.Errorf("rescan: %w", err)
		}
	}
	head, err := json.Marshal(header{version, m.rules, m.salt, m.runs})
	if err != nil {
		return fmt.Errorf("rescan: %w", err)
	}
	name := filepath.Join(m.dir, fileName)
	f, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC|noFollow, 0o600)
	if err != nil {
		return fmt.Errorf("rescan: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	_, err = w.Write(append(head, '\n'))
	for k := range m.known {
		if err != nil {
			break
		}
		_, err = w.Write(k[:])
	}
	if err = errors.Join(err, w.Flush()); err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("rescan: %w", errors.Join(err, f.Close()))
	}
	if m.file != nil {
		err = m.file.Close()
	}
	m.file, m.buffer = f, m.buffer[:0]
	if err != nil {
		return fmt.Errorf("rescan: %w", err)
	}
	return nil
}
