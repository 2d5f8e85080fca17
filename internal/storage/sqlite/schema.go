package sqlite

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// schemaVersion changes with the tables, the codec of their bodies, and the tokenizer. A file of another version is built anew.
const schemaVersion = 3

// tables makes the tables. Times are nanoseconds since 1970; those outside what that holds are cut to its ends.
const tables = `
CREATE TABLE positions(stream TEXT PRIMARY KEY, sequence INTEGER NOT NULL, record INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events(
	slot INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, conversation INTEGER NOT NULL, root BLOB NOT NULL,
	action TEXT NOT NULL, rule TEXT NOT NULL, stream TEXT NOT NULL, sequence INTEGER NOT NULL, record INTEGER NOT NULL,
	erased INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_conversation ON events(conversation, slot) WHERE conversation<>0;
CREATE INDEX events_root ON events(root) WHERE root<>x'';
CREATE TABLE conversations(
	number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, connector TEXT NOT NULL, room TEXT NOT NULL, folded TEXT NOT NULL,
	first INTEGER NOT NULL, last INTEGER NOT NULL, messages INTEGER NOT NULL, stopped INTEGER NOT NULL);
CREATE INDEX conversations_last ON conversations(last DESC, number DESC);
CREATE TABLE members(conversation INTEGER NOT NULL, handle TEXT NOT NULL, PRIMARY KEY(conversation, handle)) WITHOUT ROWID;
CREATE INDEX members_handle ON members(handle);
CREATE TABLE handles(
	id TEXT NOT NULL, person TEXT NOT NULL, connector TEXT NOT NULL, handle TEXT NOT NULL, name TEXT NOT NULL,
	folded_person TEXT NOT NULL, folded_handle TEXT NOT NULL, folded_name TEXT NOT NULL,
	first INTEGER NOT NULL, last INTEGER NOT NULL, records INTEGER NOT NULL, PRIMARY KEY(id, person)) WITHOUT ROWID;
CREATE INDEX handles_person ON handles(folded_person);
CREATE INDEX handles_handle ON handles(folded_handle);
CREATE TABLE hosts(
	id TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, person TEXT NOT NULL,
	folded_name TEXT NOT NULL, folded_address TEXT NOT NULL, folded_person TEXT NOT NULL,
	first INTEGER NOT NULL, last INTEGER NOT NULL, records INTEGER NOT NULL, PRIMARY KEY(id, name, address, person)) WITHOUT ROWID;
CREATE TABLE sightings(
	app TEXT NOT NULL, host TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, person TEXT NOT NULL,
	network INTEGER NOT NULL, endpoint INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
	confidence INTEGER NOT NULL, action TEXT NOT NULL, rule TEXT NOT NULL, PRIMARY KEY(app, host, name, address, person)) WITHOUT ROWID;
CREATE TABLE days(day TEXT NOT NULL, kind TEXT NOT NULL, action TEXT NOT NULL, records INTEGER NOT NULL, PRIMARY KEY(day, kind, action)) WITHOUT ROWID;
CREATE TABLE captures(
	day TEXT NOT NULL, connector TEXT NOT NULL, room TEXT NOT NULL, class TEXT NOT NULL, reason TEXT NOT NULL, records INTEGER NOT NULL,
	PRIMARY KEY(day, connector, room, class, reason)) WITHOUT ROWID;
CREATE TABLE objects(name TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY(name, record)) WITHOUT ROWID;
CREATE TABLE copies(
	record BLOB NOT NULL, stream TEXT NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY(record, stream, sequence, number)) WITHOUT ROWID;
CREATE VIRTUAL TABLE terms USING fts5(text, facets, content='', tokenize="ascii tokenchars '%s'");
INSERT INTO terms(terms, rank) VALUES('secure-delete', 1);
PRAGMA user_version=%d;
`

// tokenChars are the characters besides letters and digits that may be part of a token: all that print. Tokens are parted by spaces.
const tokenChars = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// keysLostIndex is over the few records whose keys are missing. A file that was made before there was one gets it.
const keysLostIndex = "CREATE INDEX IF NOT EXISTS events_keys_lost ON events(slot) WHERE erased=2"

func createAll(c *conn) error {
	quoted := strings.NewReplacer(`"`, `""`, `'`, `''`).Replace(tokenChars)
	if err := c.Exec(fmt.Sprintf(tables, quoted, schemaVersion)); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	return c.Exec(keysLostIndex)
}

func dropAll(c *conn) error {
	var names []string
	err := c.each("SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'terms_%'", func(r *sqlite3.Stmt) error {
		names = append(names, r.ColumnText(0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.Exec("DROP TABLE " + sqlite3.QuoteIdentifier(name)); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	return nil
}

// prepareSchema makes the tables of an empty file, and refuses a file of another version.
func prepareSchema(c *conn) error {
	version := 0
	empty := true
	if err := c.each("PRAGMA user_version", func(r *sqlite3.Stmt) error { version = r.ColumnInt(0); return nil }); err != nil {
		return err
	}
	if err := c.each("SELECT 1 FROM sqlite_schema LIMIT 1", func(*sqlite3.Stmt) error { empty = false; return nil }); err != nil {
		return err
	}
	switch {
	case version == schemaVersion:
		return c.Exec(keysLostIndex)
	case !empty:
		return fmt.Errorf("schema version %d, want %d: %w", version, schemaVersion, errSchema)
	}
	tx, err := c.BeginImmediate()
	if err != nil {
		return err
	}
	defer tx.End(&err)
	err = createAll(c)
	return err
}
