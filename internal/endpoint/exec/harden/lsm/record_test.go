package lsm

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/cilium/ebpf/btf"
)

// handed is a refusal as the program hands it over.
func handed(reason Reason, command, path string) []byte {
	b := make([]byte, record)
	for at, v := range map[int]uint32{atReason: uint32(reason), atProcess: 17, atUser: 1000} {
		binary.NativeEndian.PutUint32(b[at:], v)
	}
	copy(b[atCommand:atPath], command)
	copy(b[atPath:], path)
	return b
}

func TestParse(t *testing.T) {
	got, err := parse(handed(FromNamespace, "bash", "/tmp/client"))
	if want := (Refusal{FromNamespace, 17, 1000, "bash", "/tmp/client"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for what, b := range map[string][]byte{"cut": handed(FromMemory, "a", "b")[:record-1], "nothing": nil, "another reason": handed(3, "a", "b")} {
		if _, err := parse(b); !errors.Is(err, errRecord) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(handed(FromMemory, "bash", "/memfd:client (deleted)"))
	f.Add(handed(FromNamespace, "sixteen bytes...", "\xff/tmp"))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err == nil && (!utf8.ValidString(r.Path) || !utf8.ValidString(r.Command) || len(r.Path) > 3*pathSize) {
			t.Errorf("%+v", r)
		}
	})
}

// kernel describes what the program reads as a kernel might, with one member changed.
func kernel(t *testing.T, change func(members map[string]*btf.Member)) *btf.Spec {
	t.Helper()
	number := func(n uint32) btf.Type { return &btf.Int{Name: "number", Size: n} }
	pointer := &btf.Pointer{Target: &btf.Void{}}
	path := &btf.Struct{Name: "path", Size: 16, Members: []btf.Member{{Name: "mnt", Type: pointer}, {Name: "dentry", Type: pointer, Offset: 64}}}
	m := map[string]*btf.Member{"f_flags": {Type: number(4)}, "f_path": {Type: path, Offset: 0}, "f_inode": {Type: pointer, Offset: 256}, "i_sb": {Type: pointer, Offset: 320},
		"s_flags": {Type: number(8), Offset: 64}, "s_magic": {Type: number(8), Offset: 128}, "s_user_ns": {Type: pointer, Offset: 192}, "level": {Type: number(4), Offset: 32}}
	change(m)
	of := func(name string, members ...string) *btf.Struct {
		s := &btf.Struct{Name: name, Size: 1 << 12}
		for _, n := range members {
			member := *m[n]
			member.Name = n
			s.Members = append(s.Members, member)
		}
		return s
	}
	file := of("file", "f_flags", "f_inode")
	inner := &btf.Union{Size: 16, Members: of("", "f_path").Members} // as kernels have it since 6.14
	file.Members = append(file.Members, btf.Member{Type: inner, Offset: 512})
	b, err := btf.NewBuilder([]btf.Type{file, of("inode", "i_sb"), of("super_block", "s_flags", "s_magic", "s_user_ns"), of("user_namespace", "level")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := b.Spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestLayout(t *testing.T) {
	got, err := readLayout(kernel(t, func(map[string]*btf.Member) {}))
	if want := (layout{flags: 0, path: 64, inode: 32, superblock: 40, sbFlags: 8, sbMagic: 16, sbOwner: 24, level: 4}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for what, change := range map[string]func(map[string]*btf.Member){
		"another size":    func(m map[string]*btf.Member) { m["level"].Type = m["s_flags"].Type },
		"not on a byte":   func(m map[string]*btf.Member) { m["level"].Offset = 33 },
		"a part of one":   func(m map[string]*btf.Member) { m["f_flags"].BitfieldSize = 3 },
		"too far away":    func(m map[string]*btf.Member) { m["i_sb"].Offset = 1 << 20 },
		"under way twice": func(m map[string]*btf.Member) { m["s_user_ns"].Type = &btf.Int{Name: "half", Size: 2} },
	} {
		if _, err := readLayout(kernel(t, change)); !errors.Is(err, errLayout) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestProgram is one that can be encoded: all its jumps have ends. Whether a kernel takes it is tried in TestKernel.
func TestProgram(t *testing.T) {
	spec := program(layout{flags: 4, path: 8, inode: 32}, 3, 4)
	if spec.License != licence || spec.AttachTo != hook || len(spec.Instructions) > 100 {
		t.Errorf("%+v", spec)
	}
	if err := spec.Instructions.Marshal(io.Discard, binary.LittleEndian); err != nil {
		t.Error(err)
	}
}
