package catalog

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/token"

	"github.com/chaperone-im/chaperone/internal/shape"
)

// checkShape refuses what could make a parser of YAML work without bound: deep nesting, anchors and aliases. Catalogs come from outside.
func checkShape(file string, b []byte) error {
	err := shape.Check(b, func(t *token.Token) error {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType:
			return fmt.Errorf("%d:%d: anchors, aliases and tags are not part of a catalog: write the value out in each place; one that begins with &, * or ! and means just that goes into quotes", t.Position.Line, t.Position.Column)
		}
		return nil
	})
	var deep *shape.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &deep) && deep.Line == 0:
		return fmt.Errorf("%s: %w", file, err)
	}
	return fmt.Errorf("%s:%w", file, err)
}
