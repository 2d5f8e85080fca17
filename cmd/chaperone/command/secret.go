package command

import (
	"errors"
	"fmt"

	"github.com/chaperone-im/chaperone/internal/outside"
)

// maxSecret bounds the file of a share, passphrase or password, in bytes.
const maxSecret = 64 << 10

// ReadSmall reads a file that holds a share, a passphrase or a password.
func ReadSmall(name string) ([]byte, error) {
	raw, err := outside.ReadFile(name, maxSecret)
	if errors.Is(err, outside.ErrTooLarge) {
		err = fmt.Errorf("%s is larger than 64 KiB: that is no share and no password", name)
	}
	return raw, err
}
