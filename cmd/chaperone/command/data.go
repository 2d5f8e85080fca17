package command

import (
	"os"
	"path/filepath"

	"github.com/chaperone-im/chaperone/internal/config"
)

// DataFlags say where the data directory is.
type DataFlags struct {
	Data   string `name:"data" type:"path" placeholder:"DIR" help:"Data directory; else data_dir of the configuration, else ./data."`
	Config string `name:"config" type:"path" placeholder:"FILE" help:"Configuration."`
}

// Dir returns the data directory.
func (d *DataFlags) Dir() (string, error) {
	switch {
	case d.Data != "":
		return d.Data, nil
	case d.Config != "":
		c, err := LoadConfig(d.Config)
		if err != nil {
			return "", err
		}
		return c.Data(), nil
	}
	return "data", nil
}

// Load returns the configuration that the flags name: the file, or the defaults around a data directory.
func (d *DataFlags) Load() (*config.Config, error) {
	if d.Config != "" {
		return LoadConfig(d.Config)
	}
	dir, err := d.Dir()
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(nil)
	if err != nil {
		return nil, err
	}
	if c.DataDir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if beside := filepath.Join(filepath.Dir(c.DataDir), "chaperone.yaml"); FileExists(beside) {
		if full, err := LoadConfig(beside); err == nil && full.Data() == c.DataDir {
			return full, nil
		}
	}
	if FileExists(filepath.Join(c.KeysDir(), "passphrase")) {
		c.Keys.Unlock = "file:" + filepath.Join(c.KeysDir(), "passphrase")
	}
	return c, nil
}

func FileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
