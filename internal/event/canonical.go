package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// TimeLayout is the one text form of a time: RFC 3339, UTC, nine digits of fraction.
const TimeLayout = "2006-01-02T15:04:05.000000000Z"

// maxSafeInteger is the largest integer that RFC 8785 lets every reader keep exactly (2^53 - 1).
const maxSafeInteger = 1<<53 - 1

// ErrNotCanonical says that bytes are not the one canonical form of what they say.
var ErrNotCanonical = errors.New("not in canonical form")

// Canonical encodes v, a struct or a pointer to one, as canonical JSON (RFC 8785): keys sorted by UTF-16 code unit, no white space,
// times in TimeLayout, integers beyond 2^53-1 as strings, no floats. A field that is empty is omitted. A string that is not UTF-8
// (or a list that holds one) goes, in base64, under its key with "_base64" appended, as byte slices always do.
func Canonical(v any) ([]byte, error) {
	return appendValue(nil, reflect.ValueOf(v))
}

var (
	errNothing = errors.New("canonical: nothing has no canonical form")
	errTime    = errors.New("canonical: a time outside the years 0 to 9999 has no canonical form (RFC 3339)")
)

// ParseCanonical decodes b into v, a pointer to a struct, and returns ErrNotCanonical unless b is exactly what Canonical makes of v.
func ParseCanonical(b []byte, v any) error {
	if err := decode(b, v); err != nil {
		return err
	}
	again, err := Canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return ErrNotCanonical
	}
	return nil
}

type field struct {
	key   string
	index int
}

type structInfo struct {
	fields []field        // sorted by key
	plain  []string       // by field index: the key when every byte is UTF-8
	byKey  map[string]int // by tag
}

// structs caches the fields of each encoded type: reflection over tags is paid once.
var structs sync.Map // reflect.Type → *structInfo

func infoOf(t reflect.Type) *structInfo {
	if known, ok := structs.Load(t); ok {
		return known.(*structInfo)
	}
	info := &structInfo{byKey: map[string]int{}, plain: make([]string, t.NumField())}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		info.plain[i] = wireKey(key, t.Field(i).Type)
		info.fields = append(info.fields, field{info.plain[i], i})
		info.byKey[key] = i
	}
	slices.SortFunc(info.fields, func(a, b field) int { return compareUTF16(a.key, b.key) })
	structs.Store(t, info)
	return info
}

// wireKey gives byte slices the suffix that says how they are written.
func wireKey(key string, t reflect.Type) string {
	if t == bytesType {
		return key + "_base64"
	}
	return key
}

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

func appendValue(b []byte, v reflect.Value) ([]byte, error) {
	if !v.IsValid() {
		return nil, errNothing
	}
	if v.Type() == timeType {
		t := v.Interface().(time.Time).UTC()
		if t.Year() < 0 || t.Year() > 9999 { // it could not be read again
			return nil, errTime
		}
		return append(t.AppendFormat(append(b, '"'), TimeLayout), '"'), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(b, v.Elem())
	case reflect.Struct:
		return appendStruct(b, v)
	case reflect.Map:
		return appendMap(b, v)
	case reflect.Slice:
		return appendSlice(b, v)
	case reflect.String:
		return appendString(b, v.String()), nil
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(b, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return appendUint(b, v.Uint()), nil
	default:
		return nil, fmt.Errorf("canonical: type %s has no canonical form", v.Type())
	}
}

func appendInt(b []byte, n int64) []byte {
	if n > maxSafeInteger || n < -maxSafeInteger {
		return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendInt(b, n, 10)
}

func appendUint(b []byte, n uint64) []byte {
	if n > maxSafeInteger {
		return append(strconv.AppendUint(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendUint(b, n, 10)
}

func appendStruct(b []byte, v reflect.Value) ([]byte, error) {
	info := infoOf(v.Type())
	fields := info.fields
	if renamed := renamedFields(info, v); renamed != nil {
		fields = renamed
	}
	b = append(b, '{')
	start := len(b)
	var err error
	for _, f := range fields {
		fv := v.Field(f.index)
		if isEmpty(fv) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(appendString(b, f.key), ':')
		if f.key != info.plain[f.index] && fv.Type() != bytesType {
			fv = toBase64(fv)
		}
		if b, err = appendValue(b, fv); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// renamedFields returns the fields with the keys of those that are not UTF-8 renamed and sorted anew, or nil when all are UTF-8.
func renamedFields(info *structInfo, v reflect.Value) []field {
	var out []field
	for i, f := range info.fields {
		if validUTF8(v.Field(f.index)) {
			continue
		}
		if out == nil {
			out = slices.Clone(info.fields)
		}
		out[i].key = f.key + "_base64"
	}
	slices.SortFunc(out, func(a, b field) int { return compareUTF16(a.key, b.key) })
	return out
}

func validUTF8(v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.String:
		return utf8.ValidString(v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String:
		for i := range v.Len() {
			if !utf8.ValidString(v.Index(i).String()) {
				return false
			}
		}
	}
	return true
}

func toBase64(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.String {
		return reflect.ValueOf(base64.StdEncoding.EncodeToString([]byte(v.String())))
	}
	out := make([]string, v.Len())
	for i := range out {
		out[i] = base64.StdEncoding.EncodeToString([]byte(v.Index(i).String()))
	}
	return reflect.ValueOf(out)
}

// isEmpty reports whether absent, empty and zero are the same for v: they are, so they have one form, which is none.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Pointer:
		return v.IsNil() || isEmpty(v.Elem())
	case reflect.Struct:
		if v.Type() == timeType {
			return v.Interface().(time.Time).IsZero()
		}
		for _, f := range infoOf(v.Type()).fields {
			if !isEmpty(v.Field(f.index)) {
				return false
			}
		}
		return true
	default:
		return v.IsZero()
	}
}

func appendSlice(b []byte, v reflect.Value) ([]byte, error) {
	if v.Type() == bytesType {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"'), nil
	}
	b = append(b, '[')
	var err error
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, v.Index(i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, v reflect.Value) ([]byte, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, fmt.Errorf("canonical: map keys of type %s", v.Type().Key())
	}
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		if !utf8.ValidString(k.String()) {
			return nil, errors.New("canonical: map key is not UTF-8")
		}
		keys = append(keys, k.String())
	}
	slices.SortFunc(keys, compareUTF16)
	b = append(b, '{')
	var err error
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		element := v.MapIndex(reflect.ValueOf(k).Convert(v.Type().Key()))
		if !validUTF8(element) {
			return nil, errors.New("canonical: map value is not UTF-8")
		}
		if b, err = appendValue(b, element); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// compareUTF16 orders keys as RFC 8785, section 3.2.3 asks: by UTF-16 code unit.
func compareUTF16(a, b string) int {
	if isASCII(a) && isASCII(b) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendString writes s as RFC 8785, section 3.2.2.2 asks: the two-character escapes, \u00xx for other controls, all else as it is.
// Bytes that are not UTF-8 become U+FFFD; the encoder moves such fields to base64 before they come here.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = appendEscape(append(b, s[start:i]...), c)
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\t':
		return append(b, `\t`...)
	case '\n':
		return append(b, `\n`...)
	case '\f':
		return append(b, `\f`...)
	case '\r':
		return append(b, `\r`...)
	default:
		const hex = "0123456789abcdef"
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

func decode(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return fmt.Errorf("canonical: %w", err)
	}
	if dec.More() {
		return errors.New("canonical: bytes after the value")
	}
	return assign(reflect.ValueOf(v).Elem(), tree, false)
}

func assign(v reflect.Value, tree any, encoded bool) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return assign(v.Elem(), tree, encoded)
	}
	switch x := tree.(type) {
	case map[string]any:
		return assignObject(v, x)
	case []any:
		return assignList(v, x, encoded)
	case string:
		return assignString(v, x, encoded)
	case json.Number:
		return assignNumber(v, string(x))
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	}
	return fmt.Errorf("canonical: %T does not fit %s", tree, v.Type())
}

func assignObject(v reflect.Value, tree map[string]any) error {
	switch v.Kind() {
	case reflect.Struct:
		info := infoOf(v.Type())
		for key, value := range tree {
			index, ok := info.byKey[key]
			encoded := false
			if !ok {
				var plain string
				if plain, encoded = strings.CutSuffix(key, "_base64"); encoded {
					index, ok = info.byKey[plain]
				}
			}
			if !ok {
				return fmt.Errorf("canonical: unknown key %q in %s", key, v.Type())
			}
			if err := assign(v.Field(index), value, encoded); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		return nil
	case reflect.Map:
		v.Set(reflect.MakeMapWithSize(v.Type(), len(tree)))
		for key, value := range tree {
			element := reflect.New(v.Type().Elem()).Elem()
			if err := assign(element, value, false); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), element)
		}
		return nil
	}
	return fmt.Errorf("canonical: an object does not fit %s", v.Type())
}

func assignList(v reflect.Value, list []any, encoded bool) error {
	if v.Kind() != reflect.Slice || v.Type() == bytesType {
		return fmt.Errorf("canonical: a list does not fit %s", v.Type())
	}
	out := reflect.MakeSlice(v.Type(), len(list), len(list))
	for i, value := range list {
		if err := assign(out.Index(i), value, encoded); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func assignString(v reflect.Value, s string, encoded bool) error {
	if v.Type() == timeType {
		t, err := time.Parse(TimeLayout, s)
		if err != nil {
			return fmt.Errorf("canonical: %w", err)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	if encoded {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return fmt.Errorf("canonical: %w", err)
		}
		s = string(raw)
	}
	switch {
	case v.Type() == bytesType && encoded:
		v.SetBytes([]byte(s))
		return nil
	case v.Kind() == reflect.String:
		v.SetString(s)
		return nil
	case v.CanInt() || v.CanUint():
		return assignNumber(v, s)
	}
	return fmt.Errorf("canonical: a string does not fit %s", v.Type())
}

func assignNumber(v reflect.Value, digits string) error {
	switch {
	case v.CanInt():
		n, err := strconv.ParseInt(digits, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("canonical: %w", err)
		}
		v.SetInt(n)
	case v.CanUint():
		n, err := strconv.ParseUint(digits, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("canonical: %w", err)
		}
		v.SetUint(n)
	default:
		return fmt.Errorf("canonical: a number does not fit %s", v.Type())
	}
	return nil
}
