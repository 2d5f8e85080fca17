package scan

import (
	"context"
	"fmt"
	"os"

	"github.com/chaperone-im/chaperone/internal/endpoint/handle"
	"github.com/chaperone-im/chaperone/internal/event"
)

// Program is a program in a file: what it is, and by which facts it is known as a messenger. App is empty when it is none.
type Program struct {
	event.Program
	Evidence []event.Evidence
	Runtime  bool // it starts the application that lies beside it: a stock Electron or NW.js
}

// Identify tells what one opened file is and carries, the file itself first. It is the door for whoever must know a program at the moment it
// is started: nothing is walked, judged or recorded, the name counts for nothing, and path is only copied into the answer. f stays open, and
// its offset where it was. A file that is neither program nor container has no programs. The problems say what could not be looked into; the
// error, that the sandbox does not work or the context ended. It is safe for concurrent use, Options.Workers files at a time.
func (s *Scanner) Identify(ctx context.Context, f *os.File, path string) ([]Program, []Problem, error) {
	st, err := handle.Stat(f)
	if err != nil {
		return nil, nil, fmt.Errorf("identify: %w", err)
	}
	j := &job{path: path, real: path, file: f, stat: Stat{Dev: st.Dev, Ino: st.Ino, Size: st.Size}, owner: st.Owner()}
	interesting, err := s.interesting(f, st.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("identify: %w", err)
	}
	if !interesting {
		return nil, nil, nil
	}
	report, err := s.revealer.Reveal(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	var programs []Program
	for i := range report.Items {
		item := &report.Items[i]
		p := Program{Program: s.program(j, item, string(item.Inside)), Runtime: len(item.Inside) == 0 && s.match.runtime(&item.Identity)}
		p.App, p.Evidence, p.Confidence = s.match.app(&item.Identity)
		programs = append(programs, p)
	}
	var problems []Problem
	for _, p := range report.Problems {
		problems = append(problems, Problem{path, string(p.Inside), p.Reason, p.Detail})
	}
	return programs, problems, nil
}
