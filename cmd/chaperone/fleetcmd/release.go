//go:build linux

package fleetcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/endpoint/update"
	"github.com/chaperone-im/chaperone/internal/endpoint/update/release"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/printable"
	"github.com/chaperone-im/chaperone/internal/server/fleet/packages"
)

// releaseCmd signs releases of this program and offers them.
type releaseCmd struct {
	Key      releaseKeyCmd      `cmd:"" help:"Make a key that signs releases. Its secret part belongs on no server."`
	Sign     releaseSignCmd     `cmd:"" help:"Sign packages: a note beside each says what it is."`
	Plan     releasePlanCmd     `cmd:"" help:"Say which machines an offer would reach. Changes nothing."`
	Offer    releaseOfferCmd    `cmd:"" help:"Offer a release to machines; again with more of them to go on."`
	Withdraw releaseWithdrawCmd `cmd:"" help:"Offer a release no more. Machines that have it keep it."`
	Status   releaseStatusCmd   `cmd:"" help:"Say what is offered, and how many machines have it, are at it, refused it or went back."`
}

type releaseKeyCmd struct {
	Name string `arg:"" help:"Name of the key, as release.example.org; it stands in every note."`
	Out  string `name:"out" short:"o" required:"" type:"path" placeholder:"FILE" help:"Where the secret key is written; an existing file is kept."`
}

// Run makes a key pair.
func (c *releaseKeyCmd) Run(e *command.Env) error {
	return command.MakeKey(e, c.Name, c.Out)
}

type releaseSignCmd struct {
	Key   string   `name:"key" required:"" type:"path" placeholder:"FILE" help:"Secret key of fleet release key."`
	JSON  bool     `name:"json" help:"One JSON object per line."`
	Files []string `arg:"" name:"package" type:"existingfile" help:"Packages, .deb or .rpm; reading them takes dpkg-deb or rpm on this machine."`
}

// signedLine is a package that was signed. Field names are API.
type signedLine struct {
	Type string `json:"type"` // "signed"
	Note string `json:"note"`
	ID   string `json:"id"`
	release.Manifest
}

// Run signs.
func (c *releaseSignCmd) Run(e *command.Env) error {
	secret, err := command.ReadSmall(c.Key)
	if err != nil {
		return err
	}
	for _, path := range c.Files {
		line, err := signPackage(e, path, string(secret))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if c.JSON {
			err = json.NewEncoder(e.Out).Encode(line)
		} else {
			_, err = fmt.Fprintf(e.Out, "%s: %s %s, %s of %s, %d bytes, release %.12s\n", line.Note, line.Package, line.Version, line.Format, line.Architecture, line.Size, line.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func signPackage(e *command.Env, path, secret string) (signedLine, error) {
	reader, err := update.Describer(path)
	if err != nil {
		return signedLine{}, err
	}
	f, err := reader.Describe(e.Ctx, path)
	if err != nil {
		return signedLine{}, err
	}
	m, err := release.Of(path, f.Format, f.Package, f.Version, f.Architecture, time.Now())
	if err != nil {
		return signedLine{}, err
	}
	signed, err := release.Sign(m, secret)
	if err != nil {
		return signedLine{}, err
	}
	to := path + ".note"
	return signedLine{"signed", to, release.ID(signed), m}, command.PlaceNew(to, signed, 0o644)
}

// reachedFlags say whom an offer is for.
type reachedFlags struct {
	listing
	All    bool     `name:"all" help:"For all machines."`
	Groups []string `name:"group" placeholder:"NAME" help:"For the machines of a group of the policy."`
	Hosts  []string `name:"host" placeholder:"HOST" help:"For one machine, by name or id."`
	Note   string   `arg:"" type:"existingfile" help:"The note of the release, as fleet release sign wrote it."`
}

// args are those of the operation.
func (f *reachedFlags) args() (packages.OfferArgs, error) {
	signed, err := outside.ReadFile(f.Note, release.MaxNote)
	if err != nil {
		return packages.OfferArgs{}, err
	}
	if !f.All && len(f.Groups)+len(f.Hosts) == 0 {
		return packages.OfferArgs{}, hint.New(errors.New("nobody is named who is to have it"), "--group canary, --host NAME or --all")
	}
	return packages.OfferArgs{Note: signed, All: f.All, Groups: f.Groups, Hosts: f.Hosts}, nil
}

type releasePlanCmd struct{ reachedFlags }

// Run says what an offer would do.
func (c *releasePlanCmd) Run(e *command.Env) error {
	args, err := c.args()
	if err != nil {
		return err
	}
	return shelf(e, &c.listing, "fleet.releases.plan", args, nil, true)
}

type releaseOfferCmd struct {
	reachedFlags
	Package string `arg:"" type:"existingfile" help:"The package that the note is about."`
}

// Run offers.
func (c *releaseOfferCmd) Run(e *command.Env) error {
	args, err := c.args()
	if err != nil {
		return err
	}
	f, err := outside.Open(c.Package)
	if err != nil {
		return err
	}
	defer f.Close()
	return shelf(e, &c.listing, "fleet.releases.offer", args, f, true)
}

type releaseWithdrawCmd struct {
	listing
	Reason string `name:"reason" required:"" help:"Why."`
	ID     string `arg:"" help:"Of the release, or how it begins."`
}

// Run ends an offer.
func (c *releaseWithdrawCmd) Run(e *command.Env) error {
	return shelf(e, &c.listing, "fleet.releases.withdraw", packages.WithdrawArgs{ID: c.ID, Reason: c.Reason}, nil, false)
}

type releaseStatusCmd struct {
	listing
	Machines bool   `name:"machines" help:"Also how each machine does."`
	ID       string `arg:"" optional:"" help:"Of one release, or how it begins."`
}

// Run lists offers.
func (c *releaseStatusCmd) Run(e *command.Env) error {
	return shelf(e, &c.listing, "fleet.releases", packages.StatusArgs{ID: c.ID}, nil, c.Machines || c.ID != "")
}

// shelf runs an operation on releases and prints its answer.
func shelf(e *command.Env, l *listing, name string, args any, in io.Reader, machines bool) error {
	var b bytes.Buffer
	if err := operateWith(e, &l.DataFlags, name, args, in, &b); err != nil {
		return err
	}
	if l.JSON {
		_, err := e.Out.Write(b.Bytes())
		return err
	}
	if b.Len() == 0 {
		_, err := fmt.Fprintln(e.Out, "no release is offered")
		return err
	}
	return lines(&b, func(_ []byte, x packages.Line) error { return showRelease(e, x, machines) })
}

func showRelease(e *command.Env, x packages.Line, machines bool) error {
	to := "all"
	if !x.All {
		to = strings.Join(append(slices.Clone(x.Groups), x.Hosts...), " ")
	}
	fmt.Fprintf(e.Out, "release %.12s: %s %s, %s of %s, signed by %s, for %s, by %s\n", x.ID, x.Release.Package, x.Release.Version, x.Release.Format, x.Release.Architecture,
		printable.Line(strings.Join(x.Signers, ", ")), printable.Line(to), printable.Line(x.By))
	var counts []string
	for _, state := range slices.Sorted(maps.Keys(x.Counts)) {
		counts = append(counts, fmt.Sprintf("%d %s", x.Counts[state], printable.Line(state)))
	}
	if len(counts) == 0 {
		counts = []string{"no machine"}
	}
	_, err := fmt.Fprintln(e.Out, strings.Join(counts, ", "))
	if !machines {
		return err
	}
	for _, m := range x.Machines {
		away, why := "", ""
		if !m.Online {
			away = ", not connected"
		}
		if m.Why != "" {
			why = ": " + m.Why
		}
		if _, err := fmt.Fprintf(e.Out, "    %s %s%s: %s%s\n", printable.Line(m.Name), printable.Line(m.Version), away, printable.Line(m.State), printable.Line(why)); err != nil {
			return err
		}
	}
	return err
}
