package santa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-im/chaperone/internal/event"
	"github.com/chaperone-im/chaperone/internal/policy/export/santa"
)

// fullSync is how often machines sync, in seconds.
const fullSync = 600

// Handler serves the four stages.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, s, "preflight", s.preflight, func(q *preflightRequest) string { return q.MachineID })
	handle(mux, s, "eventupload", s.eventUpload, func(q *eventUploadRequest) string { return q.MachineID })
	handle(mux, s, "ruledownload", s.ruleDownload, func(q *ruleDownloadRequest) string { return q.MachineID })
	handle(mux, s, "postflight", s.postflight, func(q *postflightRequest) string { return q.MachineID })
	return mux
}

// call is who asks.
type call struct {
	id      string // of the machine
	address string
}

// problem is an answer that ends the sync. Santa begins another later.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

// handle serves one stage: it lets the machine in, reads its message, and answers.
func handle[Q any](mux *http.ServeMux, s *Server, stage string, serve func(context.Context, call, *Q) (any, error), named func(*Q) string) {
	mux.HandleFunc("POST /"+stage+"/{machine}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.serve(r, func(c call) (any, error) {
			q := new(Q)
			if err := readBody(w, r, q); err != nil {
				return nil, err
			}
			if id := named(q); id != "" && !strings.EqualFold(id, c.id) {
				return nil, &problem{http.StatusBadRequest, "the message is of another machine"}
			}
			return serve(r.Context(), c, q)
		})
		if err != nil {
			s.refuse(w, r, stage, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.deps.Log.Debug("santa: answer", "stage", stage, "error", err)
		}
	})
}

// serve lets a machine in, and waits until there is room for what it sends.
func (s *Server) serve(r *http.Request, stage func(call) (any, error)) (any, error) {
	id := r.PathValue("machine")
	if !machineID(id) || !s.access.allowed(r, id) {
		return nil, &problem{http.StatusUnauthorized, "no certificate or token of this machine"}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if _, busy := s.busy.LoadOrStore(strings.ToLower(id), true); busy {
		return nil, &problem{http.StatusTooManyRequests, "one request of a machine at a time"}
	}
	defer s.busy.Delete(strings.ToLower(id))
	select {
	case s.large <- struct{}{}:
		defer func() { <-s.large }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return stage(call{id, host})
}

// refuse answers what was not done.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, stage string, err error) {
	status, text := http.StatusBadRequest, "the message cannot be read"
	var p *problem
	switch {
	case errors.As(err, &p):
		status, text = p.status, p.text
	case errors.Is(err, errTooLarge):
		status, text = http.StatusRequestEntityTooLarge, err.Error()
	case errors.Is(err, errMedia):
		status, text = http.StatusUnsupportedMediaType, err.Error()
	case errors.Is(err, errUnknown):
		status, text = http.StatusConflict, err.Error()
	case errors.Is(err, errFull):
		status, text = http.StatusServiceUnavailable, err.Error()
	}
	s.deps.Log.Debug("santa: refused", "stage", stage, "from", r.RemoteAddr, "status", status, "error", err)
	http.Error(w, text, status)
}

// host is the machine as records name it, and whose it is.
func (s *Server) host(name, address string) event.Host {
	found := s.deps.Directory.Host(name, address, s.deps.Clock.Now())
	return event.Host{Name: name, Address: address, Person: found.Person}
}

// preflight takes up what a machine says of itself, and tells it how this sync goes.
func (s *Server) preflight(ctx context.Context, c call, q *preflightRequest) (any, error) {
	name := clip(q.Hostname)
	if name == "" {
		name = c.id
	}
	now := s.deps.Clock.Now()
	set, err := s.rulesFor(s.host(name, c.address), now)
	if err != nil {
		return nil, err
	}
	if _, known := s.machines.get(c.id); !known {
		if all, _, _ := s.machines.count(now); all >= s.cfg.MaxMachines {
			return nil, errFull
		}
		if err := s.act(ctx, c, "santa.machine", name, event.Fact{Name: "serial", Value: clip(q.Serial)}, event.Fact{Name: "santa", Value: clip(q.Version)}); err != nil {
			return nil, err
		}
	}
	clean := false
	err = s.machines.update(c.id, true, func(m *machine) {
		m.Serial, m.Name, m.User, m.Version, m.System, m.Mode, m.Seen = clip(q.Serial), name, clip(q.User), clip(q.Version), clip(q.OSVersion), clip(q.Mode), now
		clean = q.Clean || m.Has != set.digest
		m.offered, m.clean = set, clean
	})
	if err != nil {
		return nil, err
	}
	out := preflightResponse{SyncType: "NORMAL", BatchSize: batchSize, DisableUnknown: true, FullSync: fullSync}
	if clean {
		out.SyncType = "CLEAN"
	}
	if set.removable {
		yes := true
		out.BlockUSB, out.RemountUSB = &yes, []string{"noexec"}
	}
	return out, nil
}

// eventUpload makes records of what a machine reports, before it is answered.
func (s *Server) eventUpload(ctx context.Context, c call, q *eventUploadRequest) (any, error) {
	if len(q.Events) > maxEvents {
		return nil, errTooLarge
	}
	m, ok := s.machines.get(c.id)
	if !ok {
		return nil, errUnknown
	}
	u := upload{machine: &m, host: s.host(m.Name, c.address)}
	var err error
	if u.policy, u.catalog, err = s.deps.Rules(u.host); err != nil {
		return nil, err
	}
	var records []*event.Event
	var ids []string
	for _, body := range q.Events {
		r, ok := s.reportOf(&u, body)
		switch {
		case !ok:
		case !r.record:
			s.deps.Observer.Observe(r.event)
		case !slices.Contains(m.Recent, string(r.event.ID)) && !slices.Contains(ids, string(r.event.ID)):
			records, ids = append(records, r.event), append(ids, string(r.event.ID))
		}
	}
	if len(records) > 0 {
		if err := s.deps.Recorder.Record(ctx, records...); err != nil {
			s.deps.Log.Error("santa: record", "machine", c.id, "error", err)
			return nil, &problem{http.StatusServiceUnavailable, "it could not be recorded: send it again"}
		}
	}
	err = s.machines.update(c.id, false, func(m *machine) {
		m.Seen = s.deps.Clock.Now()
		m.reported(ids)
	})
	return struct{}{}, err
}

// ruleDownload hands out the rules of the sync that goes on, page by page.
func (s *Server) ruleDownload(_ context.Context, c call, q *ruleDownloadRequest) (any, error) {
	m, ok := s.machines.get(c.id)
	if !ok || m.offered == nil {
		return nil, errUnknown
	}
	answer := struct {
		Rules  []santa.Rule `json:"rules"`
		Cursor string       `json:"cursor,omitempty"`
	}{Rules: []santa.Rule{}}
	if !m.clean {
		return answer, nil
	}
	if answer.Rules, answer.Cursor, ok = m.offered.page(q.Cursor); !ok {
		return nil, &problem{http.StatusConflict, "the rules have changed: begin with a preflight"}
	}
	return answer, nil
}

// postflight takes note of what a machine now has. Rules that it took anew are an act.
func (s *Server) postflight(ctx context.Context, c call, q *postflightRequest) (any, error) {
	m, ok := s.machines.get(c.id)
	if !ok || m.offered == nil {
		return nil, errUnknown
	}
	all := len(m.offered.rules)
	whole := !m.clean || int(q.Received) >= all && int(q.Processed) >= all
	if m.clean && whole {
		err := s.act(ctx, c, "santa.rules", m.Name, event.Fact{Name: "policy", Value: m.offered.policy}, event.Fact{Name: "rules", Value: strconv.Itoa(all)},
			event.Fact{Name: "digest", Value: m.offered.digest})
		if err != nil {
			return nil, err
		}
	}
	if !whole {
		s.deps.Log.Warn("santa: a machine did not take all rules", "machine", c.id, "rules", all, "received", int(q.Received), "processed", int(q.Processed))
	}
	err := s.machines.update(c.id, false, func(x *machine) {
		x.Seen, x.Trouble, x.Has = s.deps.Clock.Now(), !whole, ""
		if whole {
			x.Has = m.offered.digest
		}
		x.offered, x.Recent = nil, slices.Clone(last(x.Recent, keptRecent))
	})
	return struct{}{}, err
}

// act makes what happens with a machine a record, before it has happened.
func (s *Server) act(ctx context.Context, c call, action, name string, details ...event.Fact) error {
	details = append([]event.Fact{{Name: "machine", Value: c.id}}, details...)
	err := s.deps.Acts.Record(ctx, &event.Event{Kind: event.Act, Phase: action, Connector: connectorName, From: event.Party{Handle: "santa on " + name}, Host: s.host(name, c.address),
		Content: event.Content{Act: &event.ActDetail{Action: action, Object: name, Details: details}}})
	if err != nil {
		s.deps.Log.Error("santa: record an act", "action", action, "machine", c.id, "error", err)
		return &problem{http.StatusServiceUnavailable, fmt.Sprintf("%s could not be recorded, and was not done", action)}
	}
	return nil
}
