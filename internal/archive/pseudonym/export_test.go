package pseudonym

// Shorten makes short forms of n characters, so that they meet.
func (r *Roll) Shorten(n int) *Roll { r.short = n; return r }
