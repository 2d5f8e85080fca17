package sqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"
	_ "github.com/ncruces/go-sqlite3/vfs/adiantum" // registers the encrypting VFS
)

// conn is one connection with its prepared statements. It is used by one goroutine at a time.
type conn struct {
	*sqlite3.Conn
	statements map[string]*sqlite3.Stmt
}

// maxStatements bounds the prepared statements of a connection.
const maxStatements = 100

func dial(path string, key []byte, cacheKiB int) (*conn, error) {
	c, err := sqlite3.Open("file:" + url.PathEscape(path) + "?vfs=adiantum")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := setUp(c, key, cacheKiB); err != nil {
		c.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &conn{c, map[string]*sqlite3.Stmt{}}, nil
}

// setUp gives the key, which must come before anything is read, and the rest.
func setUp(c *sqlite3.Conn, key []byte, cacheKiB int) error {
	if err := c.Exec("PRAGMA hexkey='" + hex.EncodeToString(key) + "'"); err != nil {
		return err
	}
	if err := fts5.Register(c); err != nil {
		return err
	}
	return c.Exec(fmt.Sprintf(`PRAGMA busy_timeout=10000; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
		PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-%d; PRAGMA trusted_schema=OFF`, cacheKiB))
}

func (c *conn) close() error {
	for _, s := range c.statements {
		s.Close()
	}
	return c.Conn.Close()
}

// prepare returns the statement of a query, bound to args. The caller steps and resets it.
func (c *conn) prepare(query string, args ...any) (*sqlite3.Stmt, error) {
	s, ok := c.statements[query]
	if !ok {
		if len(c.statements) >= maxStatements {
			for q, old := range c.statements {
				old.Close()
				delete(c.statements, q)
				break
			}
		}
		var err error
		if s, _, err = c.PrepareFlags(query, sqlite3.PREPARE_PERSISTENT); err != nil {
			return nil, fmt.Errorf("%q: %w", query, err)
		}
		c.statements[query] = s
	}
	for i, a := range args {
		if err := bind(s, i+1, a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func bind(s *sqlite3.Stmt, i int, value any) error {
	switch v := value.(type) {
	case int64:
		return s.BindInt64(i, v)
	case int:
		return s.BindInt(i, v)
	case string:
		return s.BindText(i, v)
	case []byte:
		return s.BindBlob(i, v)
	case bool:
		return s.BindBool(i, v)
	}
	return fmt.Errorf("bind: no form for %T", value)
}

// exec runs a query without rows.
func (c *conn) exec(query string, args ...any) error {
	return c.each(query, nil, args...)
}

// each runs a query and calls row for each row of its answer, if row is not nil.
func (c *conn) each(query string, row func(*sqlite3.Stmt) error, args ...any) error {
	s, err := c.prepare(query, args...)
	if err != nil {
		return err
	}
	for s.Step() {
		if row == nil {
			continue
		}
		if err := row(s); err != nil {
			s.Reset()
			return err
		}
	}
	if err := s.Reset(); err != nil {
		return err
	}
	return s.ClearBindings()
}

// with runs f on the connection under ctx: when it ends, what the connection does is interrupted.
func (c *conn) with(ctx context.Context, f func(*conn) error) error {
	old := c.SetInterrupt(ctx)
	defer c.SetInterrupt(old)
	if err := f(c); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return nil
}
