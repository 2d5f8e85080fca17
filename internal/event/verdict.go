package event

// Action is the terminal answer of policy.
type Action string

// The actions. Pending is the answer while a fact that decides may still come; it is never recorded.
const (
	Allow      Action = "allow"
	Hold       Action = "hold"
	Quarantine Action = "quarantine"
	Block      Action = "block"
	Pending    Action = "pending"
)

// Stops reports whether the action keeps the event from its recipient.
func (a Action) Stops() bool { return a == Hold || a == Quarantine || a == Block }

// Obligation kinds: what must be done besides the action.
const (
	Redact = "redact"
	Warn   = "warn"
	Review = "review"
	Alert  = "alert"
)

// Obligation is one thing policy asks for besides its action.
type Obligation struct {
	Kind  string `json:"kind"`
	Rule  string `json:"rule"`
	Queue string `json:"queue"` // review queue or alert route
}

// Verdict is policy's answer to one event: action, rule and reason, with all obligations gathered before the action was found.
type Verdict struct {
	Action      Action       `json:"action"`
	Rule        string       `json:"rule"`     // id of the first match, "otherwise" when none matched
	Say         string       `json:"say"`      // words for the person whose message, question or program was stopped
	Reason      string       `json:"reason"`   // the rule's reason, for the record
	Enforced    bool         `json:"enforced"` // false in monitor mode: the action was not carried out
	Obligations []Obligation `json:"obligations"`
	Also        []string     `json:"also"`   // rules after the first match that would have matched
	Policy      string       `json:"policy"` // version of the policy that decided
}
