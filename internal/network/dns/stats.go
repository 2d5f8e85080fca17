package dns

import "sync/atomic"

// counters are what the resolver did since it started.
type counters struct {
	questions, malformed, refused, stopped, answered, cached, failed, overload, tcpRefused, recorded, repeated, unrecorded atomic.Int64
}

// Stats are what the resolver did since it started.
type Stats struct {
	Questions  int64 // packets and TCP messages that came
	Malformed  int64 // of them, those that were no question, or none that we answer
	Refused    int64 // from clients that may not ask, or asked too often
	Stopped    int64 // by policy or rebind protection, and enforced
	Answered   int64
	Cached     int64 // answered without asking upstream
	Failed     int64 // no upstream answered
	Overload   int64 // too many questions under way
	TCPRefused int64 // connections
	Recorded   int64 // events
	Repeated   int64 // stops that were on record less than a minute before, and were observed only
	Unrecorded int64 // stops that the journal did not take
}

// Stats returns the counts.
func (r *Resolver) Stats() Stats {
	s := &r.stats
	return Stats{
		Questions: s.questions.Load(), Malformed: s.malformed.Load(), Refused: s.refused.Load(), Stopped: s.stopped.Load(),
		Answered: s.answered.Load(), Cached: s.cached.Load(), Failed: s.failed.Load(), Overload: s.overload.Load(),
		TCPRefused: s.tcpRefused.Load(), Recorded: s.recorded.Load(), Repeated: s.repeated.Load(), Unrecorded: s.unrecorded.Load(),
	}
}
