package judge

import (
	"context"
	"slices"

	"github.com/chaperone-im/chaperone/internal/catalog"
	"github.com/chaperone-im/chaperone/internal/endpoint/exec/wire"
	"github.com/chaperone-im/chaperone/internal/endpoint/scan"
	"github.com/chaperone-im/chaperone/internal/event"
)

// withPackage adds to what is known of a file by its content which messenger's package brought it. That is asked at each start, since packages
// come and go while a file stays the same. What the content tells counts more.
func (q *question) withPackage(ctx context.Context, k *known) *known {
	if q.judge.o.Packages == nil || q.must {
		return k
	}
	limited, cancel := context.WithDeadline(ctx, q.begun.Add(q.judge.o.Timeout))
	defer cancel()
	loose := k.loose || k.medium == removable || !wire.RootOnly(&q.stat)
	o := q.judge.o.Packages.Origin(limited, &File{File: q.file, Path: q.path, Stat: &q.stat, Thread: q.ask.Thread, Loose: loose})
	if o.Match == nil && !o.Unsure {
		return k
	}
	all := *k
	all.lasting = k.lasting && !o.Unsure
	if o.Match == nil || len(k.programs) > 0 && k.programs[0].App == o.Match.App {
		return &all
	}
	all.recognised = true
	own := q.itself(k)
	if len(k.programs) == 0 {
		all.programs = []scan.Program{own}
	}
	switch brought := recognised(own, o.Match); {
	case own.App != "" || o.Claimed: // one more thing that it is: that one may start does not help the other
		all.programs = append(slices.Clone(all.programs), brought)
	case all.itself():
		all.programs = slices.Concat([]scan.Program{brought}, all.programs[1:])
	default:
		all.programs = slices.Concat([]scan.Program{brought}, all.programs)
	}
	return &all
}

// itself is the file itself, also where it could not be looked into or only what it carries is a program.
func (q *question) itself(k *known) scan.Program {
	if k.itself() {
		return k.programs[0]
	}
	return scan.Program{Program: event.Program{Path: q.path, Size: q.stat.Size, Owner: q.rules.Identifier.Owner(q.stat.Uid), Media: k.medium}}
}

func recognised(p scan.Program, m *catalog.Match) scan.Program {
	p.App, p.Confidence, p.Evidence = m.App, m.Evidence.Strength, append(slices.Clone(p.Evidence), m.Evidence)
	return p
}
