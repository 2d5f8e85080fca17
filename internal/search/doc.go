// Package search finds records: its query language, the one tokenizer that stands before every driver, and the terms under which a record is
// found.
//
// A query is parsed strictly (Parse): what it does not understand is an error with its position, never ignored. A driver (Index) answers it
// from its index; Match says whether a record fits, by the same tokens, and is what drivers re-check with and are tested against. Searcher is
// the door: it takes a reader with a purpose (archive.View), and the search itself is on record before the first hit comes back.
package search
