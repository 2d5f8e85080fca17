// Command chaperone-verify checks a data directory of Chaperone against a checkpoint that was kept outside. It shares no code with the program
// that wrote the records, needs no key and changes nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/chaperone-im/chaperone/internal/ledger/verify"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run verifies one directory: 0 proven or consistent, 1 broken, 2 usage or failure.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("chaperone-verify", flag.ContinueOnError)
	flags.SetOutput(errOut)
	checkpoint := flags.String("checkpoint", "", "checkpoint, bundle or folder of them that was kept outside")
	key := flags.String("key", "", "verifier key of the ledger as known outside")
	keys := flags.String("keys", "", "folder with ledger.pub and roots, when it is not keys in the data directory")
	asJSON := flags.Bool("json", false, "print one JSON object")
	flags.Usage = func() {
		fmt.Fprintln(errOut, "usage: chaperone-verify [-json] [-key VKEY] [-keys FOLDER] [-checkpoint FILE|FOLDER] DIRECTORY")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	result, err := verify.Verify(ctx, flags.Arg(0), verify.Options{Checkpoint: *checkpoint, Key: *key, Keys: *keys})
	if err == nil && *asJSON {
		err = result.WriteJSON(out)
	} else if err == nil {
		err = result.WriteText(out)
	}
	if err != nil {
		fmt.Fprintln(errOut, "chaperone-verify: error:", err)
		return 2
	}
	if result.Verdict == verify.Broken {
		return 1
	}
	return 0
}
