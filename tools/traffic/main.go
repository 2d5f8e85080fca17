// Command traffic makes traffic with real programs in network namespaces of its own, and captures it: the samples of the catalog, and
// innocent traffic in which no messenger may be found. Nothing that it starts can reach another machine. It needs root, Linux, and the
// programs' packages (packages.txt).
//
//	traffic samples [-o ../../catalog/samples] [NAME...]   make the samples anew
//	traffic innocent [-o DIR] [-scale N] [CLASS...]        make innocent traffic, and count by class what is taken for a messenger
//	traffic speak NAME [ARG...]                            one side of a protocol; the other commands start it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say samples, innocent or speak")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	switch args[0] {
	case "samples":
		out := flags.String("o", "../../catalog/samples", "folder of samples")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return makeSamples(ctx, *out, flags.Args())
	case "innocent":
		out := flags.String("o", os.TempDir(), "folder for captures")
		chaperone := flags.String("chaperone", "../../bin/chaperone", "the program that is asked")
		scale := flags.Float64("scale", 1, "how much of it")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return makeInnocent(ctx, *out, *chaperone, *scale, flags.Args())
	case "speak":
		if len(args) < 2 {
			return errors.New("speak what?")
		}
		all := speakers()
		i := slices.IndexFunc(all, func(s speaker) bool { return s.name == args[1] })
		if i < 0 {
			return fmt.Errorf("nothing speaks %q", args[1])
		}
		return all[i].speak(ctx, args[2:])
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// speaker is one side of a protocol, of which a library is the real program.
type speaker struct {
	name  string
	speak func(ctx context.Context, args []string) error
}

func speakers() []speaker {
	return []speaker{
		{"telegram-server", telegramServer}, {"telegram-client", telegramClient},
		{"discord-server", discordServer}, {"discord-client", discordClient},
		{"webrtc-server", webrtcServer}, {"webrtc-client", webrtcClient},
		{"quic-server", quicServer}, {"quic-client", quicClient},
		{"tls-client", tlsClient}, {"noise-server", noiseServer}, {"noise-client", noiseClient},
	}
}
