package quickstart

import (
	"fmt"
	"strings"

	"github.com/chaperone-im/chaperone/internal/policy"
)

// purposesOf are the reasons to read content that a profile offers in the console. Empty is the console's own list.
func purposesOf(profile string) []string {
	switch profile {
	case "us-broker-dealer":
		return []string{"Supervisory review (FINRA 3110)", "Complaint or incident", "Litigation or legal hold", "Request of a regulator", "Test of the system"}
	case "uk-eu":
		return []string{"Periodic record check (SYSC 10A.1)", "Complaint or incident", "Litigation or legal claim", "Request of a regulator", "Request of the person concerned (GDPR 15)", "Test of the system"}
	case "works-council":
		return []string{"Incident reported to the works council", "Legal claim", "Request of a regulator", "Request of the person concerned (GDPR 15)", "Test of the system"}
	}
	return nil
}

// purposesLine is the list as the configuration has it.
func purposesLine(profile string) string {
	list := purposesOf(profile)
	if list == nil {
		return ""
	}
	quoted := make([]string, len(list))
	for i, p := range list {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return ", purposes: [" + strings.Join(quoted, ", ") + "]"
}

// shownAs says to employees under which name readers see them.
func shownAs(profile string) string {
	if profile == "us-broker-dealer" {
		return "Supervision sees names."
	}
	return "Readers see pseudonyms in the console. A name is shown to whom knows it already, or asks for it with a reason; that is on record for good."
}

// noticeText is a draft of what employees are told before anything is monitored (GDPR 13; Barbulescu v. Romania, ECHR 61496/08): what, why, who
// reads, how long. It is to be completed and checked by the firm.
func noticeText(o Options, f *policy.File) string {
	var kept []string
	for _, r := range f.Retention {
		kept = append(kept, fmt.Sprintf("%d days (class %s)", r.Days, r.ID))
	}
	reasons := purposesOf(o.Profile)
	if reasons == nil {
		reasons = []string{"supervision, complaints, legal holds and requests of regulators"}
	}
	text := fmt.Sprintf(`# Notice to employees of %s (draft)

Complete what stands in brackets, have it checked, and give it to everybody before serve runs. Nothing here is legal advice.

- **What is recorded.** Messages, edits, retractions, reactions and files in the firm's own chat, with who wrote to whom and when. Messengers that are not
  approved, where they are seen in the network or on the firm's machines.
- **What is inspected.** Texts and files, by the lists in policy.yaml, before they are delivered. What is stopped comes back to its sender with the reason.
- **Why.** [legal basis and purpose of the firm]
- **Who reads.** Nobody by default. Reviewers and counsel, each time for a stated purpose that is on record for good: %s.
  Administrators cannot read through the product.
- **Under which name.** %s
- **How long.** %s. What is under a legal hold is kept until it is released.
- **Your rights.** [contact for access, correction and objection; data protection officer; supervisory authority]
`, o.Domain, strings.Join(reasons, "; "), shownAs(o.Profile), strings.Join(kept, ", "))
	if o.Profile == "works-council" {
		text += "- **Works council.** [agreement of … on introduction and use of this system]. Looks are shown to it on request: `chaperone search kind:act`.\n"
	}
	return text
}
