package catalogs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	files "github.com/chaperone-im/chaperone/catalog"
	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/server/rollout"
)

type testCmd struct {
	Dir    string `arg:"" optional:"" help:"Folder that holds apps/*.yaml and samples; the built-in catalog by default." type:"path"`
	Corpus string `name:"corpus" placeholder:"DIR" type:"path" env:"CHAPERONE_CORPUS" help:"Folder of captures that cannot be shipped, which samples named corpus:FILE are looked for in."`
	JSON   bool   `name:"json" help:"One JSON object per problem."`
}

// Run lints, looks every fact up and replays every sample; problems make the exit status 1.
func (cmd *testCmd) Run(e *command.Env) error {
	if _, err := openCatalog(cmd.Dir); err != nil { // for its hints
		return err
	}
	checked, err := rollout.Check(e.Ctx, catalogFiles(cmd.Dir), captureFolder(cmd.Corpus), time.Now())
	if err != nil {
		return hint.New(err, "docs/guide/catalog.md explains the file of a messenger, and its samples")
	}
	what := fmt.Sprintf("%d messengers, %d facts, %d captures and %d programs replayed", len(checked.Catalog.Apps()), checked.Catalog.Facts(), checked.Captures, checked.Programs)
	if checked.Absent > 0 {
		what += fmt.Sprintf(" (%d captures of the corpus are not here)", checked.Absent)
	}
	return reportProblems(e.Out, checked.Problems, cmd.JSON, what)
}

// catalogFiles returns the files of the built-in catalog, or of the one in a folder.
func catalogFiles(dir string) fs.FS {
	if dir == "" {
		return files.Files
	}
	return os.DirFS(dir)
}

// captureFolder returns where a corpus keeps its captures: in a folder pcap, or in itself.
func captureFolder(corpus string) string {
	if inner := filepath.Join(corpus, "pcap"); corpus != "" && command.FileExists(inner) {
		return inner
	}
	return corpus
}
