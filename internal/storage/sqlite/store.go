package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/ncruces/go-sqlite3"

	"github.com/chaperone-im/chaperone/internal/journal"
)

// KeySize is the size of the key of the projections, in bytes.
const KeySize = 32

// Name is the name of the file in the folder of the projections.
const Name = "archive.db"

// maxReaders bounds the connections that read, and writerCache and readerCache what each keeps in memory, in KiB.
const (
	maxReaders  = 4
	writerCache = 32 << 10
	readerCache = 4 << 10
)

// Store is the file. It implements archive.Projection, archive.Records, archive.Catalogue, archive.Counts and search.Index.
type Store struct {
	path    string
	key     []byte
	log     *slog.Logger
	prepare func(*conn) error // makes the tables, or refuses a file of another version
	writer  chan *conn        // the one that writes, when nobody does
	readers chan *conn        // connections at rest; nil entries are yet to be opened

	aside string // where Open put a damaged file, "" when there was no need

	closing sync.Once
	whole   sync.Mutex // held by who takes all connections
}

// Open opens the projections in a folder, made when missing. A file of another schema version, of another key, or that is damaged is set
// aside and begun anew: everything in it comes from the journal, and follows again.
func Open(dir string, key []byte, log *slog.Logger) (*Store, error) {
	s, err := newStore(filepath.Join(dir, Name), key, log, prepareSchema)
	if err != nil {
		return nil, fmt.Errorf("open projections: %w", err)
	}
	w, err := s.openWriter()
	if err != nil && Unusable(err) {
		log.Warn("projections cannot be used as they are and are built anew", "file", s.path, "error", err)
		if err := s.giveUp(err); err != nil {
			return nil, fmt.Errorf("open projections: %w", err)
		}
		w, err = s.openWriter()
	}
	if err != nil {
		return nil, fmt.Errorf("open projections: %w", err)
	}
	s.begin(w)
	return s, nil
}

// newStore returns a store whose file is not open yet; its folder is made when missing.
func newStore(path string, key []byte, log *slog.Logger, prepare func(*conn) error) (*Store, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key has %d bytes, not %d", len(key), KeySize)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return &Store{path: path, key: key, log: log, prepare: prepare, writer: make(chan *conn, 1), readers: make(chan *conn, maxReaders)}, nil
}

// begin lets work in, with the connection that writes.
func (s *Store) begin(w *conn) {
	s.writer <- w
	for range maxReaders {
		s.readers <- nil
	}
}

// errSchema says that the file was made by another version of this package.
var errSchema = errors.New("made by another version")

// Unusable reports whether an error says that the file is damaged, or not one that this package and key can use.
func Unusable(err error) bool {
	return errors.Is(err, errSchema) || errors.Is(err, sqlite3.NOTADB) || errors.Is(err, sqlite3.CORRUPT)
}

// cipherBlock is what the encrypting VFS writes at once.
const cipherBlock = 4096

// cutLog cuts a torn last block off the write-ahead log, as a power loss can leave one: the VFS reads whole blocks only.
func (s *Store) cutLog() error {
	info, err := os.Stat(s.path + "-wal")
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size()%cipherBlock == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(s.path+"-wal", info.Size()/cipherBlock*cipherBlock)
}

func (s *Store) openWriter() (*conn, error) {
	if err := s.cutLog(); err != nil {
		return nil, err
	}
	w, err := dial(s.path, s.key, writerCache)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(w); err != nil {
		w.close()
		return nil, err
	}
	return w, os.Chmod(s.path, 0o600)
}

// Close waits for those who read and write, and closes the file.
func (s *Store) Close() error {
	var all []error
	s.closing.Do(func() {
		s.whole.Lock()
		defer s.whole.Unlock()
		for range maxReaders {
			if r := <-s.readers; r != nil {
				all = append(all, r.close())
			}
		}
		if w := <-s.writer; w != nil {
			all = append(all, w.close())
		}
		close(s.readers)
		close(s.writer)
	})
	return errors.Join(all...)
}

// errClosed says that the store was closed.
var errClosed = errors.New("projections: closed")

// read runs f on a connection that reads.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r, open := <-s.readers:
		if !open {
			return errClosed
		}
		if r == nil {
			var err error
			if r, err = dial(s.path, s.key, readerCache); err != nil {
				s.readers <- nil
				return err
			}
		}
		defer func() { s.readers <- r }()
		return r.with(ctx, f)
	}
}

// write runs f in a transaction of the one connection that writes: all of it happens, or none.
func (s *Store) write(ctx context.Context, f func(*conn) error) error {
	return s.writing(ctx, func(w *conn) error {
		return w.with(ctx, func(c *conn) (err error) {
			tx, err := c.BeginImmediate()
			if err != nil {
				return err
			}
			defer tx.End(&err)
			return f(c)
		})
	})
}

// writing runs f with the one connection that writes, once nobody else has it.
func (s *Store) writing(ctx context.Context, f func(*conn) error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case w, open := <-s.writer:
		if !open {
			return errClosed
		}
		defer func() { s.writer <- w }()
		if w == nil { // it could not be opened when the file was replaced
			var err error
			if w, err = s.openWriter(); err != nil {
				w = nil
				return err
			}
		}
		return f(w)
	}
}

// Position returns the last record applied of a stream.
func (s *Store) Position(ctx context.Context, stream string) (journal.Position, error) {
	p := journal.Position{Stream: stream}
	err := s.read(ctx, func(c *conn) error { return readPosition(c, &p) })
	return p, err
}

func readPosition(c *conn, p *journal.Position) error {
	return c.each("SELECT sequence, record FROM positions WHERE stream=?", func(r *sqlite3.Stmt) error {
		p.Sequence, p.Record = uint64(r.ColumnInt64(0)), r.ColumnInt(1)
		return nil
	}, p.Stream)
}

// Reset forgets everything.
func (s *Store) Reset(ctx context.Context) error {
	err := s.write(ctx, func(c *conn) error {
		if err := dropAll(c); err != nil {
			return err
		}
		return createAll(c)
	})
	if err != nil && Unusable(err) && ctx.Err() == nil {
		s.log.Warn("projections are damaged and are built anew", "file", s.path, "error", err)
		err = s.replace(s.setAside)
	}
	if err != nil {
		return fmt.Errorf("reset projections: %w", err)
	}
	return nil
}

// replace waits for those who read and write, and begins with the file that change puts in the place of the old one, or a new one.
func (s *Store) replace(change func() error) error {
	s.whole.Lock()
	defer s.whole.Unlock()
	for range maxReaders {
		r, open := <-s.readers
		if !open {
			return errClosed
		}
		if r != nil {
			r.close() // of a file that is given up
		}
		defer func() { s.readers <- nil }()
	}
	if w := <-s.writer; w != nil {
		w.close()
	}
	err := change()
	var w *conn
	if err == nil {
		w, err = s.openWriter()
	}
	if err != nil {
		w = nil
	}
	s.writer <- w
	return err
}
