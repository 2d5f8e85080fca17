package squashfs

import "errors"

var errLZO = errors.New("squashfs: broken LZO block")

// lzo undoes LZO1X, whose stream is described in the Linux kernel's Documentation/staging/lzo.rst. At most limit bytes come out.
type lzo struct {
	in    []byte
	out   []byte
	limit int
	state int // literals that the last instruction copied, 4 for a run of them
}

// unLZO unpacks a block.
func unLZO(in []byte, limit int) ([]byte, error) {
	l := &lzo{in: in, out: make([]byte, 0, limit), limit: limit}
	if len(in) > 0 && in[0] > 17 {
		n := int(in[0]) - 17
		l.in, l.state = in[1:], min(n, 4)
		if err := l.literals(n); err != nil {
			return nil, err
		}
	}
	for {
		end, err := l.instruction()
		if err != nil {
			return nil, err
		}
		if end {
			return l.out, nil
		}
	}
}

// instruction carries out one instruction, and reports whether it was the end mark.
func (l *lzo) instruction() (end bool, err error) {
	t, err := l.next()
	if err != nil {
		return false, err
	}
	var length, distance, state int
	switch {
	case t >= 64:
		length, distance, state = 3+t>>5&1, t>>2&7+1, t&3
		if t >= 128 {
			length = 5 + t>>5&3
		}
		var h int
		h, err = l.next()
		distance += h << 3
	case t >= 32:
		length, distance, state, err = l.long(t&31, 31)
		distance++
	case t >= 16:
		length, distance, state, err = l.long(t&7, 7)
		if distance += 16384 + (t&8)<<11; distance == 16384 {
			return true, err
		}
	case l.state == 0:
		length, err = l.length(t, 15)
		l.state = 4
		return false, errors.Join(err, l.literals(length+3))
	default:
		var h int
		h, err = l.next()
		length, distance, state = 2, h<<2+t>>2+1, t&3
		if l.state == 4 {
			length, distance = 3, distance+2048
		}
	}
	if err != nil {
		return false, err
	}
	if err := l.copy(length, distance); err != nil {
		return false, err
	}
	l.state = state
	return false, l.literals(state)
}

// long reads length, distance and state of the instructions that carry two more bytes.
func (l *lzo) long(bits, full int) (length, distance, state int, err error) {
	length, err = l.length(bits, full)
	if err != nil || len(l.in) < 2 {
		return 0, 0, 0, errLZO
	}
	v := int(l.in[0]) | int(l.in[1])<<8
	l.in = l.in[2:]
	return length + 2, v >> 2, v & 3, nil
}

// length reads on when the bits of the instruction were not enough.
func (l *lzo) length(bits, full int) (int, error) {
	if bits != 0 {
		return bits, nil
	}
	for n := full; n <= l.limit; n += 255 {
		b, err := l.next()
		if err != nil {
			return 0, err
		}
		if b != 0 {
			return n + b, nil
		}
	}
	return 0, errLZO
}

func (l *lzo) next() (int, error) {
	if len(l.in) == 0 {
		return 0, errLZO
	}
	b := l.in[0]
	l.in = l.in[1:]
	return int(b), nil
}

func (l *lzo) literals(n int) error {
	if n > len(l.in) || n > l.limit-len(l.out) {
		return errLZO
	}
	l.out, l.in = append(l.out, l.in[:n]...), l.in[n:]
	return nil
}

func (l *lzo) copy(length, distance int) error {
	if distance > len(l.out) || length > l.limit-len(l.out) {
		return errLZO
	}
	from := len(l.out) - distance
	for i := range length { // it may reach into what it writes
		l.out = append(l.out, l.out[from+i])
	}
	return nil
}
