// Package archive is the record as people work with it: conversations with every revision, people, hosts, the messengers seen, and one
// time line over all planes.
//
// A Projector follows the journal, unseals each record, and applies it to projections. A projection holds nothing that the journal does not:
// it can be deleted and rebuilt (Rebuild), and then answers every question as before.
//
// Content is read through a View, and only so. Open asks who looks and why; each method of a View makes an act "content.read" durable in the
// journal before it returns anything (law 6: every look is on record). What holds no content (numbers by day, by connector, by application)
// is asked of the Archive itself and leaves no act.
package archive
