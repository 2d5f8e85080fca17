package santa_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// protocol is sync/v1.proto, of the names, numbers and types that testdata/v1.txt takes from it: answers are read by the real protojson, which
// refuses what the protocol does not know.
func protocol(t testing.TB) protoreflect.MessageDescriptors {
	t.Helper()
	text, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	file := &descriptorpb.FileDescriptorProto{Name: new("sync/v1.proto"), Package: new("santa.sync.v1"), Syntax: new("proto3")}
	number := func(s string) *int32 {
		var n int32
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	enums := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "enum":
			e := &descriptorpb.EnumDescriptorProto{Name: &words[1]}
			enums[words[1]] = true
			for _, w := range words[2:] {
				name, n, _ := strings.Cut(w, "=")
				e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: &name, Number: number(n)})
			}
			file.EnumType = append(file.EnumType, e)
		case words[0] == "message":
			m := &descriptorpb.DescriptorProto{Name: &words[1]}
			for _, w := range words[2:] {
				m.Field = append(m.Field, fieldOf(w, number, enums))
			}
			file.MessageType = append(file.MessageType, m)
		}
	}
	f, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f.Messages()
}

// fieldOf reads name:number:type, with [] before the type of a list.
func fieldOf(w string, number func(string) *int32, enums map[string]bool) *descriptorpb.FieldDescriptorProto {
	parts := strings.Split(w, ":")
	f := &descriptorpb.FieldDescriptorProto{Name: &parts[0], Number: number(parts[1]), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	kind, list := strings.CutPrefix(parts[2], "[]")
	if list {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	scalar := map[string]descriptorpb.FieldDescriptorProto_Type{"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL,
		"uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32}
	if s, ok := scalar[kind]; ok {
		f.Type = s.Enum()
		return f
	}
	f.TypeName, f.Type = new(".santa.sync.v1."+kind), descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	if enums[kind] {
		f.Type = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum()
	}
	return f
}

// mac is a machine that syncs as Santa's documentation says that its client does.
type mac struct {
	t        *testing.T
	messages protoreflect.MessageDescriptors
	http     *http.Client
	base     string
	id       string
	token    string
	encoding string

	rules map[[2]string]string // policy by type and identifier
	kind  string               // of the last sync
	pages int                  // of rules, in the last sync
	short int                  // rules that it fails to take
}

// post sends a message, and reads the answer as a message of the protocol.
func (m *mac) post(stage, answer string, body any) (protoreflect.Message, error) {
	m.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.base+"/"+stage+"/"+m.id, bytes.NewReader(packed(m.t, m.encoding, text)))
	if err != nil {
		m.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	if m.encoding != "" {
		q.Header.Set("Content-Encoding", m.encoding)
	}
	if m.token != "" {
		q.Header.Set("Authorization", "Bearer "+m.token)
	}
	r, err := m.http.Do(q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	said, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", stage, r.StatusCode, said)
	}
	d := m.messages.ByName(protoreflect.Name(answer))
	out := dynamicpb.NewMessage(d)
	if err := protojson.Unmarshal(said, out); err != nil {
		m.t.Errorf("%s answers what is no %s: %v\n%s", stage, answer, err, said)
	}
	return out, nil
}

// packed compresses a body as Content-Encoding says it.
func packed(t testing.TB, encoding string, text []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	default:
		return text
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func get(m protoreflect.Message, field protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(field))
}

func enum(m protoreflect.Message, field protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(field)
	return string(f.Enum().Values().ByNumber(m.Get(f).Enum()).Name())
}

// sync runs the four stages. Any answer but 200 ends it.
func (m *mac) sync(clean bool, events ...map[string]any) error {
	pre, err := m.post("preflight", "PreflightResponse", map[string]any{"serial_num": "C02" + m.id[:4], "hostname": "mac-" + strings.ToLower(m.id[:1]) + ".example.org", "os_version": "15.1",
		"os_build": "24B83", "santa_version": "2026.1", "primary_user": "alice", "client_mode": "MONITOR", "binary_rule_count": len(m.rules), "request_clean_sync": clean, "machine_id": m.id})
	if err != nil {
		return err
	}
	m.kind = enum(pre, "sync_type")
	batch := int(get(pre, "batch_size").Uint())
	for len(events) > 0 {
		n := min(batch, len(events))
		if _, err := m.post("eventupload", "EventUploadResponse", map[string]any{"events": events[:n], "machine_id": m.id}); err != nil {
			return err
		}
		events = events[n:]
	}
	rules, err := m.download()
	if err != nil {
		return err
	}
	taken := m.apply(rules)
	_, err = m.post("postflight", "PostflightResponse", map[string]any{"rules_received": len(rules), "rules_processed": taken, "machine_id": m.id, "sync_type": m.kind})
	return err
}

// download asks for pages until there is no cursor.
func (m *mac) download() ([]protoreflect.Message, error) {
	var out []protoreflect.Message
	m.pages = 0
	for cursor := ""; ; {
		q := map[string]any{"machine_id": m.id}
		if cursor != "" {
			q["cursor"] = cursor
		}
		page, err := m.post("ruledownload", "RuleDownloadResponse", q)
		if err != nil {
			return nil, err
		}
		m.pages++
		list := get(page, "rules").List()
		for i := range list.Len() {
			out = append(out, list.Get(i).Message())
		}
		if cursor = get(page, "cursor").String(); cursor == "" {
			return out, nil
		}
	}
}

// apply takes rules up: a clean sync drops those it has, if it brings any.
func (m *mac) apply(rules []protoreflect.Message) (taken int) {
	if m.kind == "CLEAN" && len(rules) > 0 {
		m.rules = map[[2]string]string{}
	}
	for _, r := range rules[:len(rules)-min(len(rules), m.short)] {
		key := [2]string{enum(r, "rule_type"), get(r, "identifier").String()}
		if policy := enum(r, "policy"); policy == "REMOVE" {
			delete(m.rules, key)
		} else {
			m.rules[key] = policy
		}
		taken++
	}
	return taken
}
