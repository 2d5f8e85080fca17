package lsm

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// licence is what the kernel is told of the program: it takes security programs under the GNU General Public License only. The instructions
// that this file makes, and nothing else of the project, may therefore also be used under version 2 of that licence, at the choice of whoever
// has them; the project's own licence stands beside it.
const licence = "GPL"

// hook is the function that the program stands before. It is called for each file that is opened, right before fanotify is asked: so all that is
// opened to be started comes here, programs, scripts, interpreters and the loaders that programs name, whoever opened it first. bprm_check_security
// would not see the loader, through which a program in memory could be started by a harmless one.
const hook = "file_open"

// What the program compares with, the same since Linux 5.11 (include/linux/fs.h, include/uapi/linux/magic.h).
const (
	openedToStart = 0x20       // __FMODE_EXEC, in f_flags; nobody can ask for it with open(2)
	kernelMount   = 1 << 22    // SB_KERNMOUNT, in s_flags: a file system that no path leads to
	overlayMagic  = 0x794c7630 // layers; the file that lies below comes here too
)

// Reason says why a start was refused.
type Reason uint32

// The reasons.
const (
	FromMemory    Reason = 1 // the program is in no folder: memfd_create(2)
	FromNamespace Reason = 2 // its file system was mounted in a user namespace
)

// Where the parts of a refusal are in what the program hands over.
const (
	atReason  = 0
	atProcess = 4
	atUser    = 8
	atCommand = 16
	atPath    = atCommand + commandSize
	record    = atPath + pathSize

	commandSize = 16 // TASK_COMM_LEN
	pathSize    = 512
)

// What is counted.
const (
	countRefused = iota
	countLost    // there was no room to say of them
	counts
)

// layout is where a kernel keeps what the program reads.
type layout struct {
	flags, path, inode, superblock, sbFlags, sbMagic, sbOwner, level int16
}

// readLayout asks the kernel's own description of its types.
func readLayout(spec *btf.Spec) (layout, error) {
	var l layout
	var errs []error
	for _, f := range []struct {
		to       *int16
		of, name string
		bytes    uint32
	}{
		{&l.flags, "file", "f_flags", 4}, {&l.path, "file", "f_path", 16}, {&l.inode, "file", "f_inode", 8},
		{&l.superblock, "inode", "i_sb", 8}, {&l.sbFlags, "super_block", "s_flags", 8}, {&l.sbMagic, "super_block", "s_magic", 8},
		{&l.sbOwner, "super_block", "s_user_ns", 8}, {&l.level, "user_namespace", "level", 4},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(f.of, &s); err != nil {
			errs = append(errs, fmt.Errorf("struct %s: %w", f.of, err))
			continue
		}
		at, size, err := find(s.Members, f.name, 0)
		if err == nil && (size != f.bytes || at%8 != 0 || at/8 > 1<<14) {
			err = fmt.Errorf("%w: %d bits from the start, %d bytes", errLayout, at, size)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s of struct %s: %w", f.name, f.of, err))
			continue
		}
		*f.to = int16(at / 8)
	}
	return l, errors.Join(errs...)
}

// errLayout says that a kernel keeps something otherwise than the program can read.
var errLayout = errors.New("this kernel keeps it otherwise")

// find looks for a member, also in those that have no name themselves, and returns its place in bits and its size in bytes.
func find(members []btf.Member, name string, depth int) (at, size uint32, err error) {
	for _, m := range members {
		if m.Name == name {
			n, err := btf.Sizeof(m.Type)
			if m.BitfieldSize != 0 || err != nil {
				return 0, 0, errors.Join(errLayout, err)
			}
			return uint32(m.Offset), uint32(n), nil
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if m.Name != "" || depth > 4 {
			continue
		}
		if at, size, err := find(inner, name, depth+1); err == nil {
			return uint32(m.Offset) + at, size, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: there is none", errLayout)
}

// program returns what decides, with the descriptors of what it hands over and counts in. It stops no start by root, who could take it away: container runtimes start themselves from memory as root
// (runc before 1.1.4 without another way). Root is who is user 0 of the machine, whatever a user namespace calls him.
func program(l layout, refusals, numbers int) *ebpf.ProgramSpec {
	const file, user, reason, place = asm.R6, asm.R8, asm.R9, asm.R7
	out := asm.Instructions{
		asm.LoadMem(file, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R2, file, l.flags, asm.Word),
		asm.And.Imm(asm.R2, openedToStart),
		asm.JEq.Imm(asm.R2, 0, "allow"),
		asm.FnGetCurrentUidGid.Call(),
		asm.Mov.Reg32(user, asm.R0), // the lower half is the user
		asm.JEq.Imm(user, 0, "allow"),
		asm.LoadMem(place, file, l.inode, asm.DWord),
		asm.LoadMem(place, place, l.superblock, asm.DWord),
		asm.Mov.Imm(reason, int32(FromMemory)),
		asm.LoadMem(asm.R2, place, l.sbFlags, asm.DWord),
		asm.And.Imm(asm.R2, kernelMount),
		asm.JNE.Imm(asm.R2, 0, "refuse"),
		asm.Mov.Imm(reason, int32(FromNamespace)),
		asm.LoadMem(asm.R2, place, l.sbOwner, asm.DWord),
		asm.LoadMem(asm.R2, asm.R2, l.level, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "allow"), // the first user namespace
		asm.LoadMem(asm.R2, place, l.sbMagic, asm.DWord),
		asm.JEq.Imm(asm.R2, overlayMagic, "allow"),
	}
	out = append(out, count(numbers, countRefused, "refuse", "tell")...)
	out = append(out,
		asm.LoadMapPtr(asm.R1, refusals).WithSymbol("tell"),
		asm.Mov.Imm(asm.R2, record),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "lost"),
		asm.Mov.Reg(place, asm.R0),
		asm.StoreMem(place, atReason, reason, asm.Word),
		asm.StoreMem(place, atUser, user, asm.Word),
		asm.FnGetCurrentPidTgid.Call(),
		asm.RSh.Imm(asm.R0, 32), // the upper half is the process
		asm.StoreMem(place, atProcess, asm.R0, asm.Word),
		asm.StoreImm(place, atUser+4, 0, asm.Word),
		asm.StoreImm(place, atPath, 0, asm.Word), // where the path is too long there is none
		asm.Mov.Reg(asm.R1, place),
		asm.Add.Imm(asm.R1, atCommand),
		asm.Mov.Imm(asm.R2, commandSize),
		asm.FnGetCurrentComm.Call(),
		asm.Mov.Reg(asm.R1, file),
		asm.Add.Imm(asm.R1, int32(l.path)),
		asm.Mov.Reg(asm.R2, place),
		asm.Add.Imm(asm.R2, atPath),
		asm.Mov.Imm(asm.R3, pathSize),
		asm.FnDPath.Call(),
		asm.Mov.Reg(asm.R1, place),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
		asm.Ja.Label("deny"),
	)
	out = append(out, count(numbers, countLost, "lost", "deny")...)
	out = append(out,
		asm.Mov.Imm(asm.R0, -1).WithSymbol("deny"), // EPERM
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("allow"),
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Name: "chaperone_exec", Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: hook, License: licence, Instructions: out}
}

// count adds one to a number, and goes on at next.
func count(numbers int, which int64, label, next string) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, which, asm.Word).WithSymbol(label),
		asm.LoadMapPtr(asm.R1, numbers),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, next),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	}
}
