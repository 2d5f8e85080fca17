package logs

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-im/chaperone/internal/logfile"
)

// Bounds of one event of Windows.
const (
	maxFields = 512
	maxDepth  = 12
)

// fields are what an event of Windows says, by the last part of each name in lower case and without spaces: forwarders call them differently.
type fields map[string]string

func (f fields) set(name, value string) error {
	name = strings.ToLower(strings.ReplaceAll(name, " ", ""))
	name = name[strings.LastIndexAny(name, ".:")+1:]
	if _, again := f[name]; again || value == "" {
		return nil
	}
	if len(f) >= maxFields {
		return fmt.Errorf("it has more than %d fields", maxFields)
	}
	f[name] = value
	return nil
}

func (f fields) first(names ...string) string {
	for _, n := range names {
		if v := f[n]; v != "" {
			return v
		}
	}
	return ""
}

// The events that matter (learn.microsoft.com, "Using Event Viewer with AppLocker", "Understanding App Control event IDs"). False is what was
// stopped, true what would have been if the policy were enforced.
func eventOf(id string) (enforcer string, watched bool) {
	switch id {
	case "8003", "8006", "8021", "8024":
		return AppLocker, true
	case "8004", "8007", "8022", "8025":
		return AppLocker, false
	case "3076":
		return AppControl, true
	case "3077":
		return AppControl, false
	}
	return "", false
}

// windows reads an event of Windows: XML as wevtutil and forwarders write it, or JSON as winlogbeat and NXLog do. What stands before it on the line,
// as the head of syslog, is passed over; it says when and where only if the event does not.
func windows(line string, now time.Time) (*Entry, error) {
	f := fields{}
	head := logfile.ParseSyslog(line, now)
	line = message(line)
	if at := strings.Index(line, "<Event"); at >= 0 {
		if err := f.readXML(line[at:]); err != nil {
			return nil, err
		}
	} else if at := strings.IndexByte(line, '{'); at >= 0 {
		if err := f.readJSON(line[at:]); err != nil {
			return nil, err
		}
	} else if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "<?xml") || strings.HasPrefix(line, "</Events") {
		return nil, nil
	} else {
		return nil, errors.New("it is neither XML nor JSON")
	}
	enforcer, watched := eventOf(f.first("event_id", "eventid"))
	if enforcer == "" {
		return nil, nil
	}
	if from := strings.ToLower(f.first("channel", "provider_name", "sourcename", "provider")); from != "" && strings.Contains(from, "codeintegrity") != (enforcer == AppControl) {
		return nil, nil // numbers are used by others too
	}
	e := &Entry{Enforcer: enforcer, Watched: watched, Host: f.first("computer_name", "computer", "hostname"), Said: "event " + f.first("event_id", "eventid")}
	if at := f.first("systemtime", "@timestamp", "timecreated", "eventtime"); at != "" {
		t, err := windowsTime(at)
		if err != nil {
			return nil, err
		}
		e.Time = t
	}
	if e.Time.IsZero() {
		e.Time = head.Time
	}
	if e.Host == "" {
		e.Host = head.Host
	}
	if enforcer == AppLocker {
		f.appLocker(e)
	} else {
		f.appControl(e)
	}
	return e, nil
}

// message is what a line of RFC 5424 says after its head and its structured data (sections 6.2 to 6.4), in which braces and brackets stand too; another
// line is its own message.
func message(line string) string {
	rest, ok := strings.CutPrefix(line, "<")
	if at := strings.Index(rest, ">1 "); ok && at >= 0 && at <= 3 {
		rest = rest[at+3:]
	} else {
		return line
	}
	for range 5 { // time, host, application, process, message id
		var found bool
		if _, rest, found = strings.Cut(rest, " "); !found {
			return line
		}
	}
	rest = strings.TrimPrefix(rest, "-")
	for strings.HasPrefix(rest, "[") {
		end := elementEnd(rest)
		if end < 0 {
			return line
		}
		rest = rest[end:]
	}
	return strings.TrimPrefix(strings.TrimPrefix(rest, " "), "\ufeff")
}

// elementEnd returns where an element of structured data ends: at the bracket outside of quotes. Within them a backslash takes the next character
// as it is.
func elementEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ']' && !quoted:
			return i + 1
		}
	}
	return -1
}

// windowsTime reads the times of the forms: RFC 3339, the same with a space, and those without a zone as UTC.
func windowsTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("its time is none")
}

// appLocker takes RuleAndFileData: the rule by its id, and the file by its fully qualified binary name PUBLISHER\PRODUCT\FILE\VERSION.
func (f fields) appLocker(e *Entry) {
	e.User = f.first("targetuser")
	e.Path = f.first("fullfilepath", "filepath", "package")
	parts := strings.Split(f.first("fqbn"), `\`)
	for len(parts) < 4 {
		parts = append(parts, "")
	}
	for i, to := range []*string{&e.Publisher, &e.Product, nil, &e.Version} {
		if to != nil && parts[i] != "-" {
			*to = parts[i]
		}
	}
	if id := strings.ToLower(strings.Trim(f["ruleid"], "{}")); id != "" && strings.Trim(id, "0-") != "" {
		e.Rule = id
	}
	if name := f["rulename"]; name != "" && name != "-" {
		e.Said += ", rule " + name
	}
}

// appControl takes what Code Integrity says: its flat hash is that of the whole file, and the policy is told by its id.
func (f fields) appControl(e *Entry) {
	e.User = f.first("userid", "user")
	e.Path = f.first("filename", "filenamebuffer")
	e.SHA256 = sum(strings.ReplaceAll(f.first("sha256flathash"), " ", ""))
	e.Product, e.Version, e.Publisher = f["productname"], f["fileversion"], f.first("publishername")
	policy := strings.ToUpper(strings.Trim(f.first("policyguid", "policyid"), "{}"))
	if e.Product != "" && policy != "" {
		e.Rule = "{" + policy + "}:" + strings.ToUpper(e.Product)
	}
	if name := f.first("policyname", "policynamebuffer"); name != "" {
		e.Said += ", policy " + name
	}
}

// readXML reads one event: the text of each element by its name, of Data by its Name, and the attributes that carry something.
func (f fields) readXML(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = true
	var open []string
	var value strings.Builder
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return errors.New("its XML ends early")
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			name, err := f.opened(t)
			if err != nil {
				return err
			}
			if open = append(open, name); len(open) > maxDepth {
				return errors.New("its XML is too deep")
			}
			value.Reset()
		case xml.CharData:
			value.Write(t) // the line is bounded
		case xml.EndElement:
			if err := f.set(open[len(open)-1], strings.TrimSpace(value.String())); err != nil {
				return err
			}
			value.Reset()
			if open = open[:len(open)-1]; len(open) == 0 {
				return nil
			}
		}
	}
}

// opened takes the attributes of an element and returns what its text is called.
func (f fields) opened(t xml.StartElement) (string, error) {
	name := t.Name.Local
	for _, a := range t.Attr {
		switch {
		case name == "Data" && a.Name.Local == "Name":
			name = a.Value
		case name == "TimeCreated", name == "Security" && a.Name.Local == "UserID":
			if err := f.set(a.Name.Local, a.Value); err != nil {
				return "", err
			}
		}
	}
	return name, nil
}

// readJSON reads the leaves of one object.
func (f fields) readJSON(text string) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("its JSON: %w", err)
	}
	return f.leaves(v, 0)
}

func (f fields) leaves(v map[string]any, depth int) error {
	if depth > maxDepth {
		return errors.New("its JSON is too deep")
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		var err error
		switch x := v[name].(type) {
		case string:
			err = f.set(name, x)
		case json.Number:
			err = f.set(name, x.String())
		case bool:
			err = f.set(name, strconv.FormatBool(x))
		case map[string]any:
			err = f.leaves(x, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
