package policy

// Member reports whether who and what the event is about, the sender, the machine or somebody in the audience, belongs to the group. A group
// that the policy does not have has no members.
func (p *Policy) Member(name string, in *Input) bool {
	pl, ok := planeOf(in.Event.Kind)
	if !ok {
		return false
	}
	f := p.facts(in, pl)
	for i := range p.groups {
		if p.groups[i].name == name {
			return p.groups[i].has(&f)
		}
	}
	return false
}
