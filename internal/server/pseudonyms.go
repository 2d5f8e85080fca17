package server

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/archive/pseudonym"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/control"
	"github.com/chaperone-im/chaperone/internal/seal"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// newRoll returns a roll that knows everybody in the directory. Its key takes the compliance key and a file beside it: whoever has only one
// of them cannot try names against pseudonyms. Another file gives other pseudonyms.
func newRoll(c *config.Config, private *seal.PrivateKey) (*pseudonym.Roll, error) {
	const size = 32
	salt, err := file.LoadOrCreateSecret(filepath.Join(c.KeysDir(), "pseudonyms.key"), size)
	if err != nil {
		return nil, err
	}
	key, err := private.Derive(salt, "chaperone pseudonyms v1", size)
	if err != nil {
		return nil, err
	}
	return pseudonym.New(key), nil
}

// DiscloseArgs are those of disclose.
type DiscloseArgs struct {
	Sign
	Pseudonyms []string `json:"pseudonyms"`
}

// disclose tells who pseudonyms stand for, one JSON object a line. Each is on record first.
func (o *operations) disclose(ctx context.Context, call *control.Call, a DiscloseArgs) error {
	v, err := o.view(ctx, call, a.Sign)
	if err != nil {
		return err
	}
	out := json.NewEncoder(call.Out)
	for _, p := range a.Pseudonyms {
		d, err := v.Disclose(ctx, p, "")
		if err != nil {
			return err
		}
		if err := out.Encode(d); err != nil {
			return err
		}
	}
	return nil
}
