package main

import (
	"github.com/chaperone-im/chaperone/internal/sandbox"
	"github.com/chaperone-im/chaperone/internal/unpack/reveal"
)

// sandboxParsers is the one list of parsers that run in sandbox children.
func sandboxParsers() []sandbox.Parser {
	return []sandbox.Parser{reveal.Parser()}
}
