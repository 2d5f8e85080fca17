package flow

// buffers are byte slices that are used again, by size.
type buffers struct {
	free [len(sizes)][][]byte
	kept int
}

// sizes are the capacities of buffers: the beginning of a direction moves to the next larger one as it grows.
var sizes = [...]int{128, 256, 512, 1 << 10, 1536, 2 << 10, 4 << 10, 8 << 10, 16 << 10}

// maxKept bounds the bytes of buffers that wait to be used again.
const maxKept = 1 << 20

// get returns an empty slice with room for n bytes.
func (b *buffers) get(n int) []byte {
	for i, size := range sizes {
		if n > size {
			continue
		}
		if last := len(b.free[i]) - 1; last >= 0 {
			buf := b.free[i][last]
			b.free[i][last] = nil
			b.free[i] = b.free[i][:last]
			b.kept -= size
			return buf[:0]
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// put takes back what get gave.
func (b *buffers) put(buf []byte) {
	for i, size := range sizes {
		if cap(buf) == size && b.kept+size <= maxKept {
			b.free[i] = append(b.free[i], buf)
			b.kept += size
			return
		}
	}
}

// grown returns buf, or a larger copy of it, with room for n more bytes.
func (b *buffers) grown(buf []byte, n int) []byte {
	if len(buf)+n <= cap(buf) {
		return buf
	}
	larger := append(b.get(len(buf)+n), buf...)
	b.put(buf)
	return larger
}
