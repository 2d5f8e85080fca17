// Package sqlite keeps the archive's projections and the search index in one encrypted SQLite file.
//
// The file is encrypted by an Adiantum VFS under a key of 32 bytes: what it holds is content. It runs in WAL mode with secure_delete, one
// writer and a few readers; a reader gives its connection back between chunks of rows, so that a slow consumer never holds up a checkpoint.
//
// A record's row is its slot: the second it happened in, and a number within that second. So rows are in the order in which people want
// them, and "the newest 50 that match" is a walk that stops after 50. Acts and deliveries, which speak of other records, have slots of their
// own above all others, and searches leave them out by leaving out a range. The full-text table is contentless: it holds tokens made by
// package search, texts in one column and facets ("from=alice@example.org") in another, and no text of its own.
package sqlite
