package server

import (
	"context"
	"errors"
	"os"

	"github.com/chaperone-im/chaperone/internal/config"
	"github.com/chaperone-im/chaperone/internal/conversation/pipeline"
	"github.com/chaperone-im/chaperone/internal/storage/file"
)

// withSpool opens the spool of a gateway that is open, or was open and left something behind, and runs a pipeline on it.
func (s *Server) withSpool(g config.Gateway, c pipeline.Config, d pipeline.Deps) (*pipeline.Pipeline, error) {
	if _, err := os.Stat(file.SpoolPath(s.store.Dir, g.ID)); errors.Is(err, os.ErrNotExist) && !c.Open {
		p := pipeline.New(c, d)
		s.add(part{name: "pipeline " + g.ID, after: true, run: p.Run})
		return p, nil
	}
	spool, err := file.OpenSpool(s.store.Dir, g.ID, 0)
	if err != nil {
		return nil, err
	}
	s.unused = append(s.unused, spool)
	d.Spool = spool
	p := pipeline.New(c, d)
	s.add(part{name: "pipeline " + g.ID, after: true, run: func(ctx context.Context) error { return errors.Join(p.Run(ctx), spool.Close()) }})
	return p, nil
}
