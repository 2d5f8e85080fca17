package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chaperone-im/chaperone/internal/control"
)

// Arguments of the operations.
type (
	// CodeArgs are those of fleet.code.
	CodeArgs struct {
		Life     time.Duration `json:"life"`
		Uses     int           `json:"uses"`
		Comment  string        `json:"comment,omitempty"`
		Withdraw string        `json:"withdraw,omitempty"` // name of a code to end, instead
	}
	// DecideArgs are those of fleet.decide.
	DecideArgs struct {
		Hosts  []string `json:"hosts"` // ids, fingerprints or names
		All    bool     `json:"all,omitempty"`
		Code   string   `json:"code,omitempty"` // with All: only those of this code
		Refuse bool     `json:"refuse,omitempty"`
		Reason string   `json:"reason,omitempty"`
	}
	// HostsArgs are those of fleet.hosts.
	HostsArgs struct {
		States    []State `json:"states,omitempty"`
		Inventory bool    `json:"inventory,omitempty"`
	}
	// GrantArgs are those of fleet.approval.
	GrantArgs struct {
		Approval
		For      time.Duration `json:"for,omitempty"` // instead of Until
		Withdraw string        `json:"withdraw,omitempty"`
	}
	// PlanArgs are those of fleet.campaign.plan.
	PlanArgs struct {
		App     string   `json:"app"`
		Version string   `json:"version,omitempty"`
		Action  string   `json:"action"`
		Reason  string   `json:"reason"`
		Canary  []string `json:"canary,omitempty"`
		SHA256  []string `json:"sha256,omitempty"` // files that somebody looked at
	}
	// AdvanceArgs are those of fleet.campaign.advance.
	AdvanceArgs struct {
		ID   string `json:"id"`
		To   Stage  `json:"to"`
		Plan string `json:"plan,omitempty"`
	}
)

// Lines of answers: field names are API.
type (
	// HostLine is a host as fleet.hosts answers.
	HostLine struct {
		Type string `json:"type"` // "host"
		Host
		Online     bool      `json:"online"`
		Seen       time.Time `json:"seen,omitzero"`
		Mode       string    `json:"mode,omitempty"`
		Generation uint64    `json:"generation"`
		Current    bool      `json:"current"` // has what it is to have
		Trouble    string    `json:"trouble,omitempty"`
		Programs   any       `json:"programs,omitempty"`
		Copied     time.Time `json:"copied,omitzero"` // when an agent came with a copy of its state
	}
	// ReleaseLine is what all agents are to have.
	ReleaseLine struct {
		Generation uint64    `json:"generation"`
		Created    time.Time `json:"created"`
		Published  time.Time `json:"published"` // by this process
		Policy     string    `json:"policy"`    // version
	}
	// ApprovalLine is an approval in force, or a request.
	ApprovalLine struct {
		Type     string    `json:"type"` // "approval" or "request"
		Approval *Approval `json:"approval,omitempty"`
		Request  *Asked    `json:"request,omitempty"`
	}
)

// Operations are what a running fleet server offers on the control socket.
func (s *Server) Operations() control.Operations {
	admin := []control.Role{control.Administrator}
	return append(s.releases.Operations(offered{s}, s.deps.Clock.Now), control.Operations{
		control.With("fleet.code", admin, s.opCode),
		control.With("fleet.codes", admin, s.opCodes),
		control.With("fleet.decide", admin, s.opDecide),
		control.With("fleet.hosts", admin, s.opHosts),
		control.With("fleet.release", admin, s.opRelease),
		control.With("fleet.approval", admin, s.opApproval),
		control.With("fleet.approvals", admin, s.opApprovals),
		control.With("fleet.campaign.plan", admin, s.opPlan),
		control.With("fleet.campaign.advance", admin, s.opAdvance),
		control.With("fleet.campaigns", admin, s.opCampaigns),
	}...)
}

func (s *Server) opCode(ctx context.Context, call *control.Call, a CodeArgs) error {
	if a.Withdraw != "" {
		return s.WithdrawCode(ctx, call.Caller.Account, a.Withdraw)
	}
	code, err := s.NewCode(ctx, call.Caller.Account, a.Comment, a.Life, a.Uses)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(call.Out, code)
	return err
}

func (s *Server) opCodes(_ context.Context, call *control.Call, _ struct{}) error {
	return encodeAll(call, s.Codes())
}

// encodeAll writes a line for each.
func encodeAll[T any](call *control.Call, list []T) error {
	out := json.NewEncoder(call.Out)
	for _, x := range list {
		if err := out.Encode(x); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) opDecide(ctx context.Context, call *control.Call, a DecideArgs) error {
	if a.All {
		for _, h := range s.roster.list(Pending) {
			if a.Code == "" || h.Code == a.Code {
				a.Hosts = append(a.Hosts, h.ID)
			}
		}
	}
	var errs []error
	for _, what := range a.Hosts {
		var h Host
		var err error
		if a.Refuse {
			h, err = s.Deny(ctx, call.Caller.Account, what, a.Reason)
		} else {
			h, err = s.Approve(ctx, call.Caller.Account, what)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := encodeAll(call, []HostLine{s.line(h, false)}); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func (s *Server) line(h Host, inventory bool) HostLine {
	h.Request, h.Certificate = nil, nil
	generation, _, _ := s.Release()
	l := HostLine{Type: "host", Host: h, Online: h.Seen.Online, Seen: h.Seen.At, Mode: h.Seen.Mode, Generation: h.Seen.Fleet, Current: h.Seen.Fleet == generation, Trouble: h.Seen.Trouble, Copied: h.Seen.Copied}
	if inventory && h.Inventory != nil {
		l.Programs = h.Inventory.Programs
	}
	return l
}

func (s *Server) opHosts(_ context.Context, call *control.Call, a HostsArgs) error {
	var lines []HostLine
	for _, h := range s.Hosts(a.States...) {
		lines = append(lines, s.line(h, a.Inventory))
	}
	return encodeAll(call, lines)
}

func (s *Server) opRelease(_ context.Context, call *control.Call, _ struct{}) error {
	r := s.release.Load()
	return encodeAll(call, []ReleaseLine{{r.manifest.Generation, r.manifest.Created, r.at, r.version}})
}

func (s *Server) opApproval(ctx context.Context, call *control.Call, a GrantArgs) error {
	if a.Withdraw != "" {
		return s.Withdraw(ctx, call.Caller.Account, a.Withdraw, a.Reason)
	}
	if a.For > 0 {
		a.Until = s.deps.Clock.Now().Add(a.For)
	}
	granted, err := s.Grant(ctx, call.Caller.Account, a.Approval)
	if err != nil {
		return err
	}
	return encodeAll(call, []ApprovalLine{{Type: "approval", Approval: &granted}})
}

func (s *Server) opApprovals(_ context.Context, call *control.Call, _ struct{}) error {
	inForce, asked := s.Approvals()
	var lines []ApprovalLine
	for i := range asked {
		lines = append(lines, ApprovalLine{Type: "request", Request: &asked[i]})
	}
	for i := range inForce {
		lines = append(lines, ApprovalLine{Type: "approval", Approval: &inForce[i]})
	}
	return encodeAll(call, lines)
}

func (s *Server) opPlan(ctx context.Context, call *control.Call, a PlanArgs) error {
	x, err := s.Plan(ctx, call.Caller.Account, Campaign{App: a.App, Version: a.Version, Action: a.Action, Reason: a.Reason, SHA256: a.SHA256}, a.Canary)
	if err != nil {
		return err
	}
	return encodeAll(call, []Campaign{x})
}

func (s *Server) opAdvance(ctx context.Context, call *control.Call, a AdvanceArgs) error {
	x, err := s.Advance(ctx, call.Caller.Account, a.ID, a.To, a.Plan)
	if err != nil {
		return err
	}
	return encodeAll(call, []Campaign{x})
}

func (s *Server) opCampaigns(_ context.Context, call *control.Call, _ struct{}) error {
	return encodeAll(call, s.Campaigns())
}
