// Package unpack walks containers within containers: archives, compressed files and packages.
//
// Every bound is explicit, and what lies beyond one is reported, never passed over: encrypted, too deep, a bomb, unparseable, unsupported.
// Only members that are programs or containers themselves are taken apart; their data is held in memory, so the walk runs in the sandbox
// child. It writes nothing and follows nothing outside the bytes it is given.
package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/program"
)

// Separator joins the levels of a path inside nested containers.
const Separator = "!/"

// Reasons that are not in package event's list.
const (
	ReasonUnsupported = "unsupported" // a known container that is not taken apart
)

// Limits bound a walk. Zero values mean the defaults.
type Limits struct {
	Depth   int   // containers within containers; default 6
	Entries int   // members in all; default 200,000
	Total   int64 // bytes decompressed in all; default 2 GiB
	Member  int64 // bytes of one member that is held in memory; default 256 MiB
	Live    int64 // bytes of all members held at one time; default 512 MiB
	Ratio   int64 // bytes out for each byte in, beyond 32 MiB; default 250
	Name    int   // bytes of a member's name; default 1,024
}

// ratioFloor is how much may come out of a container before its ratio counts.
const ratioFloor = 32 << 20

func (l Limits) withDefaults() Limits {
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&l.Total, 2<<30)
	set(&l.Member, 256<<20)
	set(&l.Live, 512<<20)
	set(&l.Ratio, 250)
	if l.Depth == 0 {
		l.Depth = 6
	}
	if l.Entries == 0 {
		l.Entries = 200_000
	}
	if l.Name == 0 {
		l.Name = 1024
	}
	return l
}

// Entry is a file that was found: the outermost one (Inside is "") or a member.
type Entry struct {
	Inside  string
	Format  program.Format
	Data    []byte
	Control []byte // the control file of a Debian package, the manifest of an MSIX, JAR or wheel, the package.json of an asar archive
}

// Visitor is told what a walk finds. Visit returns whether the walk should look inside.
type Visitor interface {
	Visit(e *Entry) (descend bool)
	Fail(inside, reason, detail string)
}

// errStop ends the whole walk: a bound over all containers is reached. It has been reported.
var errStop = errors.New("unpack: stop")

// bound is an error that says which bound was reached.
type bound struct{ reason, detail string }

func (b *bound) Error() string { return b.reason + ": " + b.detail }

type walker struct {
	ctx     context.Context // of one call to Walk
	limits  Limits
	visitor Visitor
	entries int
	total   int64
	live    int64
	far     []byte // see farther
}

// Walk visits data and everything inside. It returns an error only when the context ends.
func Walk(ctx context.Context, data []byte, limits Limits, v Visitor) error {
	w := &walker{ctx: ctx, limits: limits.withDefaults(), visitor: v}
	format := program.Sniff(data[:min(len(data), program.HeadSize)])
	if format == program.None {
		format, _ = program.SniffFar(bytes.NewReader(data), int64(len(data))) // reading from memory does not fail
	}
	err := w.visit("", format, data, 0)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	return nil
}

// visit tells the visitor of one file and looks inside. It returns only errors that end the walk.
func (w *walker) visit(inside string, format program.Format, data []byte, depth int) error {
	e := &Entry{Inside: inside, Format: format, Data: data}
	if format == program.Deb {
		e.Control = debControl(data)
	} else if kind, b := manifestOf(format, data); b != nil {
		e.Format, e.Control = kind, b
	}
	if !w.visitor.Visit(e) {
		return nil
	}
	if format != program.DMG && program.MaybeDMG(data) && program.DMGTail(data) {
		w.visitor.Fail(inside, ReasonUnsupported, notOpened(program.DMG)) // what its first bytes are is looked into all the same
	}
	found := payloads(format, data)
	if !format.Container() && !program.ZipTail(data) && len(found) == 0 { // self-extracting: a zip behind a program
		return nil
	}
	if depth >= w.limits.Depth {
		w.visitor.Fail(inside, event.ReasonTooDeep, fmt.Sprintf("more than %d levels", w.limits.Depth))
		return nil
	}
	if err := w.openPayloads(inside, found, depth+1); err != nil {
		return err
	}
	return w.memberError(inside, w.open(inside, format, data, depth+1))
}

// open takes one container apart. A panic of a decoder is that container's error.
func (w *walker) open(inside string, format program.Format, data []byte, depth int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %v", format, p)
		}
	}()
	switch format {
	case program.Zip, program.PE, program.ELF, program.MachO:
		return w.zip(inside, data, depth, format != program.Zip)
	case program.Tar:
		return w.tar(inside, bytes.NewReader(data), depth)
	case program.XAR:
		return w.xar(inside, data, depth)
	case program.Gzip, program.Bzip2, program.XZ, program.Zstd, program.Pbzx:
		return w.compressed(inside, format, data, depth)
	case program.SevenZip:
		return w.sevenZip(inside, data, depth)
	case program.RAR:
		return w.rar(inside, data, depth)
	case program.AR, program.Deb:
		return w.ar(inside, format, data, depth)
	case program.RPM:
		return w.rpm(inside, data, depth)
	case program.OLE:
		return w.ole(inside, data, depth)
	case program.CPIO:
		return w.cpio(inside, bytes.NewReader(data), depth)
	case program.Cabinet:
		return w.cabinet(inside, data, depth)
	case program.Squashfs:
		return w.squashfs(inside, data, depth)
	case program.AppImage:
		return w.appImage(inside, data, depth)
	case program.ASAR:
		return w.asar(inside, data, depth)
	case program.ISO:
		return w.iso(inside, data, depth)
	default:
		return &bound{ReasonUnsupported, notOpened(format)}
	}
}

// member looks at one member of a container: it reads the head, and the rest only when the head is of a program or a container.
func (w *walker) member(outer, name string, r io.Reader, depth int) error {
	if err := w.count(outer); err != nil {
		return err
	}
	inside := w.join(outer, name)
	r = complete{r}
	head := make([]byte, program.HeadSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	short := err != nil
	format := program.Sniff(head[:n])
	data := head[:n]
	if format == program.None && !short {
		if data, short, err = w.farther(data, r); err != nil {
			return err
		}
		if format = program.SniffDisc(data); format != program.None {
			data = bytes.Clone(data)
		}
	}
	if format == program.None {
		return w.diskImage(inside, data, r, short)
	}
	if !short {
		room := min(w.limits.Member, w.limits.Live-w.live)
		var fits bool
		if data, fits, err = gather(data, r, room); err != nil {
			return err
		}
		if !fits {
			w.visitor.Fail(inside, event.ReasonOversize, "larger than what is held in memory")
			return nil
		}
	}
	w.live += int64(len(data))
	defer func() { w.live -= int64(len(data)) }()
	return w.visit(inside, format, data, depth)
}

func notOpened(format program.Format) string { return string(format) + " is not taken apart" }

// diskImage says of a member that it is a macOS disk image, which only its end tells. Of the member data was read, and r goes on; what is not
// like the begin of one is not read on.
func (w *walker) diskImage(inside string, data []byte, r io.Reader, short bool) error {
	if !program.MaybeDMG(data) {
		return nil
	}
	tail := bytes.Clone(data[max(0, len(data)-program.DMGTailSize):])
	part := make([]byte, 4*program.HeadSize)
	for !short {
		n, err := io.ReadFull(r, part)
		short = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !short {
			return err
		}
		tail = append(tail, part[:n]...)
		tail = append(tail[:0], tail[max(0, len(tail)-program.DMGTailSize):]...)
	}
	if program.DMGTail(tail) {
		w.visitor.Fail(inside, ReasonUnsupported, notOpened(program.DMG))
	}
	return nil
}

// maxPart is how much gather reads at one time.
const maxPart = 8 << 20

// gather reads the rest of a member behind its head. It holds no more than twice what there is, and of what does not fit nothing.
func gather(head []byte, r io.Reader, room int64) (data []byte, fits bool, err error) {
	parts, total := [][]byte{head}, int64(len(head))
	for size := 4 * program.HeadSize; ; size = min(2*size, maxPart) {
		part := make([]byte, size)
		n, err := io.ReadFull(r, part)
		if total += int64(n); total > room {
			return nil, false, nil
		}
		parts = append(parts, part[:n])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return slices.Concat(parts...), true, nil
		case err != nil:
			return nil, false, err
		}
	}
}

// farther reads on to where a disc image shows itself. What it returns is good until the next call.
func (w *walker) farther(data []byte, r io.Reader) (_ []byte, short bool, err error) {
	if w.far == nil {
		w.far = make([]byte, program.DiscSize)
	}
	n := copy(w.far, data)
	m, err := io.ReadFull(r, w.far[n:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	return w.far[:n+m], err != nil, nil
}

// errCut says that something ends before it should.
var errCut = errors.New("cut off")

// complete tells the end of what is read from its being cut off, which readers of many formats give as io.ErrUnexpectedEOF: to ReadFull
// that only means less than was asked for.
type complete struct{ r io.Reader }

// Read reads.
func (c complete) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, err
}

// exactly reads size bytes of r; when there are fewer, it was cut off.
type exactly struct {
	r    io.Reader
	left int64
}

// Read reads.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = errCut
	}
	return n, err
}

// count counts a member against the bound over all containers.
func (w *walker) count(outer string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.entries++; w.entries > w.limits.Entries {
		w.visitor.Fail(outer, event.ReasonBomb, fmt.Sprintf("more than %d members", w.limits.Entries))
		return errStop
	}
	return nil
}

// join makes the path of a member. Names are kept as bytes, shortened when too long.
func (w *walker) join(outer, name string) string {
	name = strings.TrimPrefix(name, "./")
	if len(name) > w.limits.Name {
		name = name[:w.limits.Name]
	}
	if outer == "" {
		return name
	}
	return outer + Separator + name
}

// metered counts what comes out of a decompressor against the bounds.
func (w *walker) metered(r io.Reader, outer string, in int64) io.Reader {
	return &meter{w: w, r: r, outer: outer, in: in}
}

type meter struct {
	w     *walker
	r     io.Reader
	outer string
	in    int64
	out   int64
	idle  int // reads in a row that brought nothing
}

// maxIdle is how often a decompressor may bring nothing, and no error either: some go on so for ever when what they read is cut off.
const maxIdle = 100

// Read reads, and fails when a bound is reached.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.out += int64(n)
	m.w.total += int64(n)
	if m.idle++; n > 0 {
		m.idle = 0
	}
	switch {
	case m.idle > maxIdle && err == nil:
		return 0, io.ErrNoProgress
	case m.w.ctx.Err() != nil:
		return 0, m.w.ctx.Err()
	case m.w.total > m.w.limits.Total:
		m.w.visitor.Fail(m.outer, event.ReasonBomb, "unpacks to more than is looked at")
		return 0, errStop
	case m.out > ratioFloor && m.out/max(m.in, 1) > m.w.limits.Ratio:
		return 0, &bound{event.ReasonBomb, fmt.Sprintf("unpacks to more than %d times its size", m.w.limits.Ratio)}
	}
	return n, err
}
