package flow

import (
	"bufio"
	"errors"
	"io"
	"time"
)

// FirstPacket returns the time of the first packet of a capture, the zero time when it has none.
func FirstPacket(r io.Reader) (time.Time, error) {
	c, err := openCapture(bufio.NewReaderSize(r, readSize))
	if err != nil {
		return time.Time{}, err
	}
	_, info, err := c.src.ZeroCopyReadPacketData()
	if errors.Is(err, io.EOF) {
		return time.Time{}, nil
	}
	return possible(info.Timestamp), err
}
