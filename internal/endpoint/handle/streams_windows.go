package handle

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func streams(f *os.File) ([]Stream, error) {
	for size := 4 << 10; ; size *= 4 {
		b := make([]byte, size)
		err := windows.GetFileInformationByHandleEx(windows.Handle(f.Fd()), windows.FileStreamInfo, &b[0], uint32(len(b)))
		switch {
		case err == nil:
			return parseStreams(b), nil
		case errors.Is(err, windows.ERROR_MORE_DATA) && size < 4<<20:
			continue
		case errors.Is(err, windows.ERROR_HANDLE_EOF), errors.Is(err, windows.ERROR_INVALID_PARAMETER), errors.Is(err, windows.ERROR_INVALID_FUNCTION),
			errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED):
			return nil, nil // a folder without any, or a file system that has no such thing
		}
		return nil, &os.PathError{Op: "streams", Path: f.Name(), Err: err}
	}
}

func openStream(f *os.File, name, path string) (*os.File, error) {
	return create(f, ":"+name+streamOfAll, path, windows.FILE_GENERIC_READ, windows.FILE_OPEN, 0)
}
