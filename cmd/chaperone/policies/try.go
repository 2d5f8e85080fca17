package policies

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/chaperone-im/chaperone/cmd/chaperone/command"
	"github.com/chaperone-im/chaperone/cmd/chaperone/hint"
	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/outside"
	"github.com/chaperone-im/chaperone/internal/policy"
	"github.com/chaperone-im/chaperone/internal/printable"
)

type tryCmd struct {
	command.ConfigFlag
	Policy string   `help:"Policy file; else that of the configuration, else the embedded quickstart policy." type:"path"`
	Packs  []string `help:"Packs to use besides those of the policy; all for every one."`
	JSON   bool     `name:"json" help:"One JSON object per text."`
	File   string   `arg:"" help:"Texts, one JSON object {id, from, to, room, text} a line; - reads standard input."`
}

// tryText is one line of the file.
type tryText struct {
	ID   json.RawMessage `json:"id"`
	From string          `json:"from"`
	To   []string        `json:"to"`
	Room string          `json:"room"`
	Text string          `json:"text"`
}

// TryLimit is the longest line, in bytes.
const TryLimit = 8 << 20

// Run judges each text as it would be judged in a conversation.
func (c *tryCmd) Run(e *command.Env) error {
	set, err := c.Rules(e, c.Policy, c.Packs...)
	if err != nil {
		return err
	}
	in := e.In
	if c.File != "-" {
		f, err := outside.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	out := bufio.NewWriter(e.Out)
	find := set.Finder()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), TryLimit)
	n := 1
	for ; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var t tryText
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return errors.Join(out.Flush(), hint.New(fmt.Errorf("%s:%d: %w", c.File, n, err), `each line is an object such as {"id":"1","from":"a@x.org","to":["b@y.org"],"text":"…"}`))
		}
		ev := t.event(time.Now())
		find.Fill(e.Ctx, ev)
		v := set.Policy.Decide(&policy.Input{Event: ev, Now: ev.Received, Final: true})
		if err := c.print(out, &t, ev, v); err != nil {
			return err
		}
	}
	err = lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("%s:%d: the line is longer than %d MiB", c.File, n, TryLimit>>20)
	}
	return errors.Join(err, out.Flush())
}

func (t *tryText) event(now time.Time) *event.Event {
	ev := &event.Event{Kind: event.Message, Time: now, Received: now, From: event.Party{Handle: t.From, Person: t.From}, Room: event.Room{Name: t.Room}}
	ev.Text = t.Text
	for _, to := range t.To {
		ev.To = append(ev.To, event.Party{Handle: to, Person: to})
	}
	return ev
}

func (c *tryCmd) print(out io.Writer, t *tryText, ev *event.Event, v event.Verdict) error {
	if c.JSON {
		line := map[string]any{"verdict": v.Action, "rule": v.Rule, "hits": hitsJSON(ev.Hits)}
		if len(t.ID) > 0 {
			line["id"] = t.ID
		}
		if len(v.Obligations) > 0 {
			line["obligations"] = v.Obligations
		}
		if len(ev.NotChecked) > 0 {
			line["not_inspected"] = ev.NotChecked
		}
		return json.NewEncoder(out).Encode(line)
	}
	out = printable.Writer(out)
	if _, err := fmt.Fprintf(out, "%s: %s by %s\n", t.ID, v.Action, v.Rule); err != nil {
		return err
	}
	for _, h := range ev.Hits {
		if _, err := fmt.Fprintf(out, "  %s (%s), %d\n", h.Name, h.Inspector, h.Count); err != nil {
			return err
		}
	}
	return nil
}

// hitsJSON gives one object per span, so that each place in the text has its own; a hit without spans is one object.
func hitsJSON(hits []event.Hit) []map[string]any {
	out := []map[string]any{}
	for _, h := range hits {
		one := func() map[string]any {
			m := map[string]any{"inspector": h.Inspector, "name": h.Name, "confidence": h.Confidence.Float()}
			if h.File != "" {
				m["file"] = h.File
			}
			return m
		}
		for _, s := range h.Spans {
			m := one()
			m["start"], m["end"] = s.Start, s.End
			out = append(out, m)
		}
		if len(h.Spans) == 0 {
			out = append(out, one())
		}
	}
	return out
}
