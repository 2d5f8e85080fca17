package command

import (
	"reflect"
	"regexp"

	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
)

// LoadConfig loads a configuration. Of a file that is a policy the error says so.
func LoadConfig(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil && looksLike(path, reflect.TypeFor[policy.File](), reflect.TypeFor[config.Config]()) {
		return nil, hint.New(err, "that looks like a policy: chaperone policy check "+path+" checks it; the configuration is the file whose key policy names it")
	}
	return c, err
}

// notAConfig adds to the error of a policy that the file is a configuration, when it looks like one.
func notAConfig(err error, path string) error {
	if err != nil && path != "" && looksLike(path, reflect.TypeFor[config.Config](), reflect.TypeFor[policy.File]()) {
		return hint.New(err, "that looks like a configuration: chaperone config test --config "+path+" checks it; its key policy names the policy, and --config "+path+" takes that one")
	}
	return err
}

// maxLooked bounds what is looked at of a file, in bytes.
const maxLooked = 1 << 20

// looksLike reports whether the first keys of a file belong to one kind of file more than to another.
func looksLike(path string, one, other reflect.Type) bool {
	b, err := outside.ReadFile(path, maxLooked)
	if err != nil {
		return false
	}
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+):`).FindAllSubmatch(b, -1) {
		mine, its := hasKey(one, string(m[1])), hasKey(other, string(m[1]))
		switch {
		case mine && !its:
			n++
		case its && !mine:
			n--
		}
	}
	return n > 0
}

func hasKey(t reflect.Type, key string) bool {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return true
		}
	}
	return false
}
