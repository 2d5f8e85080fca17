// Package wire is what holder and worker of the execution control say to each other: small messages of one fixed size over a socket that
// keeps their bounds (unix, SOCK_SEQPACKET). The holder asks, with the file's descriptor beside; the worker answers and fills the holder's
// tables. Nothing here has a length that the other side chooses.
package wire

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// Size is the size of every message.
const Size = 64

// Kind says what a message is.
type Kind uint8

// The kinds of messages. Ask goes from holder to worker, all others the other way.
const (
	Ask        Kind = 1 + iota // may this file, whose descriptor comes along, be started or opened?
	Answer                     // of the Ask with the same ID; with ID 0, which no Ask has, Key is what a worker before allowed under this Generation
	Generation                 // the policy in force is this one: what was allowed under another is forgotten, Generation says it
	MustRun                    // Key is a program that the machine cannot do without
	Ready                      // the worker decides from now on
)

// Flags of messages.
const (
	Quiet    uint8 = 1 << iota // Ask: nobody has the file open for writing, and nobody can open it so until it is decided
	Open                       // Ask: it is opened, not started
	Allow                      // Answer: let it through; without it, refuse
	Remember                   // Answer: let the same file (Key) through under this Generation without asking
	Ignore                     // Answer: only root can change the file, so the kernel may stop asking until it is changed
	Release                    // Answer: nobody looks at the file any more, so writers need not wait
)

// Key is a file at one state of its content.
type Key struct {
	Dev, Ino uint64
	Size     int64
	Changed  int64 // time of the last change of content or inode, in nanoseconds
}

// KeyOf takes the key out of a file's status.
func KeyOf(st *unix.Stat_t) Key {
	return Key{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Changed: st.Ctim.Nano()}
}

// RootOnly reports whether only root can change the file: its owner is root, and neither group (with which access lists show) nor others may
// write.
func RootOnly(st *unix.Stat_t) bool {
	return st.Uid == 0 && st.Mode&0o022 == 0 && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// Message is one message. What its kind has no use for is zero.
type Message struct {
	Kind       Kind
	Flags      uint8
	Thread     int32 // Ask: who starts or opens it
	ID         uint64
	Generation uint64
	Key        Key
}

// Has reports whether all flags are set.
func (m Message) Has(flags uint8) bool { return m.Flags&flags == flags }

// Append appends the message to b.
func (m *Message) Append(b []byte) []byte {
	b = append(b, byte(m.Kind), m.Flags, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Thread))
	for _, v := range [...]uint64{m.ID, m.Generation, m.Key.Dev, m.Key.Ino, uint64(m.Key.Size), uint64(m.Key.Changed), 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// ErrMessage says that a message is none.
var ErrMessage = errors.New("wire: malformed message")

// Parse reads a message.
func Parse(b []byte) (Message, error) {
	if len(b) != Size || b[0] < byte(Ask) || b[0] > byte(Ready) {
		return Message{}, ErrMessage
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	return Message{
		Kind: Kind(b[0]), Flags: b[1], Thread: int32(binary.LittleEndian.Uint32(b[4:])), ID: at(0), Generation: at(1),
		Key: Key{Dev: at(2), Ino: at(3), Size: int64(at(4)), Changed: int64(at(5))},
	}, nil
}
