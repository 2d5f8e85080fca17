#!/usr/bin/env python3
"""Checks a data directory of Chaperone by docs/reference/proof-format.md alone. Standard library only.

usage: verify.py [--json] [--key VKEY] [--checkpoint FILE|FOLDER] DIRECTORY
exit: 0 PROVEN, or CONSISTENT, NOT PROVEN; 1 BROKEN; 2 could not check
"""
import argparse, base64, datetime, hashlib, json, os, re, struct, sys

class Damaged(Exception): pass  # what is read is not in the form of the page

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()
# --- Ed25519 (RFC 8032, section 5.1.7)

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def add(a, b):
    x, y = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = y - x, d - c, d + c, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(n, point):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total

def point(raw):
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign) or y >= P:
        raise Damaged("not a point")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P

BASE = point(bytes([0x58]) + bytes([0x66]) * 31)

def signed_by(public, message, signature):
    s, a, r = int.from_bytes(signature[32:], "little"), point(public), point(signature[:32])
    if len(signature) != 64 or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % Q
    left, right = times(s, BASE), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0
# --- canonical JSON, Merkle trees

def whole(text):
    if not re.fullmatch("0|-?[1-9][0-9]{0,15}", text) or abs(int(text)) > 2**53 - 1:
        raise Damaged("a number that is not whole")
    return int(text)

def in_order(pairs):
    return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be", "surrogatepass")))

def canonical(raw):
    try:
        value = json.loads(raw.decode(), parse_int=whole, parse_float=whole, parse_constant=whole, object_pairs_hook=in_order)
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as err:
        raise Damaged("not JSON: %s" % err)
    if again != raw or not isinstance(value, dict) or value.get("v") != 1:
        raise Damaged("not in canonical form, or of an unknown version")
    return value

def parse_head(raw):
    head = canonical(raw)
    when_ = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", str(head.get("time")))
    if not when_ or set(head) - {"v", "stream", "seq", "prev", "time", "count", "root"}:
        raise Damaged("a head with unknown keys or a malformed time")
    head["seq"] = int(head.get("seq", 0))
    return head

class Tree:
    def __init__(self, leaves=()):
        self.size, self.nodes = 0, []
        for leaf in leaves:
            self.append(leaf)
    def append(self, leaf):
        n = self.size
        while n & 1:
            leaf, n = sha(b"\x01", self.nodes.pop(), leaf), n >> 1
        self.nodes.append(leaf)
        self.size += 1
    def root(self):
        total = self.nodes[-1] if self.nodes else sha()
        for node in reversed(self.nodes[:-1]):
            total = sha(b"\x01", node, total)
        return total

def root_of(leaves):
    return Tree(leaves).root()
# --- checkpoints

def b64(text):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise Damaged("base64 that is not in its one form")
    return raw

class Checkpoint:
    def __init__(self, raw, vkey):
        try:
            self.parse(raw, vkey)
        except (ValueError, struct.error) as err:
            raise Damaged("checkpoint: %s" % err)
    def parse(self, raw, vkey):
        name, _, data = vkey.strip().split("+", 2)
        data, note = b64(data), raw.decode()
        if len(data) != 33 or data[0] != 1 or vkey.split("+")[1] != sha(name.encode(), b"\n", data)[:4].hex():
            raise Damaged("not a verifier key")
        public, (text, signatures) = data[1:], note.rsplit("\n\n", 1)
        text, good = text + "\n", set()
        ids = {sha(name.encode(), b"\n", bytes([kind]), public)[:4]: kind for kind in (1, 4)}
        for line in (signatures + "!").split("\n")[:-1] if signatures.endswith("\n") else []:
            dash, signer, sig = line.split(" ")
            sig, message = b64(sig), text.encode()
            kind = ids.get(sig[:4]) if signer == name else None
            if kind == 4:
                self.time = struct.unpack(">Q", sig[4:12])[0]
                message = b"cosignature/v1\ntime %d\n" % self.time + message
            if dash != "\u2014" or kind and not signed_by(public, message, sig[12:] if kind == 4 else sig[4:]):
                raise Damaged("checkpoint: a bad signature")
            good.add(kind)
        if not {1, 4} <= good:
            raise Damaged("checkpoint: not signed with both signatures of the key")
        origin, size, root = text[:-1].split("\n")
        self.size, self.root = whole(size), b64(root)
        if origin != name or self.size < 0 or len(self.root) != 32:
            raise Damaged("checkpoint: of another ledger, or malformed")

def load_outside(path, key, store_key, findings):
    files = [path] if not os.path.isdir(path) else [os.path.join(path, f) for f in sorted(os.listdir(path)) if not f.startswith(".")]
    points, frames, bare = [], {}, []
    for raw in [open(name, "rb").read() for name in files]:
        if not raw.startswith(b"{"):
            bare.append(raw)
            continue
        text = raw.decode().strip()
        while text:
            bundle, at = json.JSONDecoder().raw_decode(text)
            text = text[at:].lstrip()
            point_, heads = check_bundle(bundle, key)
            points.append(point_)
            frames.update(heads)
            if store_key and store_key.strip() != bundle["key"].strip():
                findings.append(("checkpoint-differs", "", "the ledger's key is not the one that signed the outside checkpoint"))
            key = key or bundle["key"]
    for raw in bare:
        try:
            points.append(Checkpoint(raw, key or store_key))
        except Damaged as err:
            if key or b"\n\n\xe2\x80\x94 " not in raw:
                raise
            findings.append(("checkpoint-differs", "", "the outside checkpoint was not signed by the key of this ledger: %s" % err))
    if not points and not bare:
        raise Damaged("no checkpoint there")
    return points, frames

def check_bundle(b, key):
    if b.get("v") != 1 or b.get("type") != "chaperone-checkpoint":
        raise Damaged("not a bundle of a known version")
    point_ = Checkpoint(b["checkpoint"].encode(), key or b["key"])
    if not 0 <= b["from"] <= b["to"] <= point_.size or len(b["frames"]) != b["to"] - b["from"]:
        raise Damaged("the bundle does not hold the frames it says")
    for f in b["frames"]:
        head = parse_head(f["head"].encode())
        hashes = [bytes.fromhex(h) for h in f["hashes"]]
        if head.get("stream") != f["stream"] or head["seq"] != f["seq"] or head.get("count", 0) != len(hashes) \
                or len(f["ids"]) != len(hashes) or head.get("root") != root_of(hashes).hex():
            raise Damaged("a frame of the bundle whose records are not those of its head")
    if b["from"] == 0 and b["to"] == point_.size and root_of([sha(b"\0", f["head"].encode()) for f in b["frames"]]) != point_.root:
        raise Damaged("the frames of the bundle are not those of its checkpoint")
    return point_, {b["from"] + i: f for i, f in enumerate(b["frames"])}
# --- journal

def crc_step(c, rounds=8):
    return crc_step(c >> 1 ^ (0x82F63B78 if c & 1 else 0), rounds - 1) if rounds else c

CRC = [crc_step(n) for n in range(256)]

def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = CRC[(c ^ byte) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF

def split(raw, limit):
    parts, at = [], 0
    while at < len(raw):
        n = shift = 0
        while True:
            if at >= len(raw) or shift > 35:
                raise Damaged("a length that does not fit")
            byte, at = raw[at], at + 1
            n, shift = n | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        if (byte == 0 and shift > 7) or n > limit or n > len(raw) - at:
            raise Damaged("a length that does not fit")
        parts.append(raw[at:at + n])
        at += n
    return parts

class Store:
    def __init__(self, root):
        self.root, self.findings, self.waiting, self.certified, self.records, self.frames = root, [], set(), set(), 0, 0
    def bad(self, kind, detail, record=""):
        self.findings.append((kind, record, detail))
    def stream(self, name):
        """Yields (head bytes, record ids, header leaf hashes) of each frame."""
        folder = os.path.join(self.root, "journal", name)
        segments = sorted(s for s in os.listdir(folder) if re.fullmatch(r"\d{20}\.seg", s)) if os.path.isdir(folder) else []
        seq, prev = 0, ""
        for segment in segments:
            path = os.path.join(folder, segment)
            left = os.path.getsize(path)
            if left and int(segment[:20]) != seq + 1:
                self.bad("chain-broken", "segment %s begins with another frame" % segment)
            with open(path, "rb") as f:
                while left:
                    prefix = f.read(16)
                    a, b, c = struct.unpack(">III", prefix[4:].ljust(12, b"\0"))
                    total, whole_ = 16 + a + b + c + 4, len(prefix) == 16
                    if whole_ and (prefix[:4] != b"CJF1" or a > 1 << 12 or total > 1 << 26) or total > left and segment != segments[-1]:
                        return self.bad("frame-damaged", "stream %s, frame %d: no whole frame begins here" % (name, seq + 1))
                    if total > left:
                        return
                    body, left, seq = f.read(total - 16), left - total, seq + 1
                    head = body[:a]
                    if struct.unpack(">I", body[-4:])[0] != crc32c(prefix + body[:-4]):
                        self.bad("frame-damaged", "stream %s, frame %d: checksum" % (name, seq))
                    try:
                        parsed = parse_head(head)
                        headers, sealed = split(body[a:a + b], 1 << 16), split(body[a + b:-4], 1 << 24)
                        if len(headers) != len(sealed):
                            raise Damaged("headers and contents differ in number")
                    except Damaged as err:
                        self.bad("frame-damaged", "stream %s, frame %d: %s" % (name, seq, err))
                        continue
                    leaves = [sha(b"\0", h) for h in headers]
                    if (parsed.get("stream"), parsed["seq"], parsed.get("prev", "")) != (name, seq, prev):
                        self.bad("chain-broken", "stream %s, frame %d does not follow the one before" % (name, seq))
                    if parsed.get("count", 0) != len(headers) or parsed.get("root") != root_of(leaves).hex():
                        self.bad("frame-damaged", "stream %s, frame %d: its records are not those of its head" % (name, seq))
                    seq, prev, self.frames = max(seq, parsed["seq"]), sha(head).hex(), self.frames + 1
                    yield head, [self.record(h, s) for h, s in zip(headers, sealed)], leaves
    def record(self, raw, sealed):
        self.records += 1
        try:
            h = canonical(raw)
        except Damaged as err:
            self.bad("frame-damaged", "header: %s" % err)
            return ""
        if (h.get("kind"), h.get("phase")) == ("act", "record.dispose"):
            self.certified.add(h.get("refers"))
        gone = not sealed and "sealed" in h
        if gone:
            self.waiting.add(h.get("id"))
        elif sealed and sha(sealed).hex() != h.get("sealed"):
            self.bad("content-changed", "the sealed content does not match its digest", h.get("id", ""))
        keys = os.path.join(self.root, "keys")
        if sealed[:1] == b"\x01" and len(sealed) > 16 and (os.path.exists(keys + "/roots") or os.path.exists(keys + "/compliance.pub")) and not (os.path.isfile(f := "%s/roots/%s.json" % (keys, sealed[1:17].hex())) and os.path.getsize(f)):
            self.bad("content-key-missing", "root %s is not in keys/roots" % sealed[1:17].hex(), h.get("id", ""))
        for o in h.get("objects", []) if os.path.isdir(os.path.join(self.root, "objects")) else []:
            self.object(o, h["id"], gone)
        return h.get("id", "")
    def object(self, o, record, gone):
        good = re.fullmatch(r"[A-Za-z0-9_-]{1,128}", o["name"])
        paths = [os.path.join(self.root, "objects", p, o["name"]) for p in ("", o["name"][:2]) if good]
        path = next((p for p in paths if os.path.isfile(p)), None)
        if path is None and not gone:
            self.bad("object-missing", "object %s" % o["name"], record)
        elif path and hashlib.file_digest(open(path, "rb"), "sha256").hexdigest() != o.get("sha256"):
            self.bad("object-changed", "object %s" % o["name"], record)
    def copies(self, kind, n):
        groups = "%03d" % (n % 1000)
        while n := n // 1000:
            groups = "x%03d/%s" % (n % 1000, groups)
        base = os.path.join(self.root, "ledger", "tile", kind, groups)
        partial = os.listdir(base + ".p") if os.path.isdir(base + ".p") else []
        files = [(int(w), os.path.join(base + ".p", w)) for w in partial if re.fullmatch("[1-9][0-9]{0,2}", w) and int(w) < 256]
        return sorted(files + ([(256, base)] if os.path.isfile(base) else []), reverse=True)
    def leaves(self, point_):
        tree, levels, level = Tree(), [[]], 0
        for n in range((point_.size + 255) // 256):
            need, whole_, ends = min(256, point_.size - n * 256), None, []
            files = [(w, open(p, "rb").read()) for w, p in self.copies("entries", n)]
            for w, raw in files:
                if w >= need and whole_ is None:
                    at, whole_ = 0, raw
                    while at + 2 <= len(raw) and len(ends) < w:
                        at += 2 + struct.unpack(">H", raw[at:at + 2])[0]
                        ends.append(at)
                    if len(ends) != w or at != len(raw):
                        return self.bad("ledger-damaged", "entry bundle %d" % n)
            if whole_ is None or any(raw != whole_[:ends[w - 1]] for w, raw in files):
                return self.bad("ledger-damaged", "entry bundle %d is missing or its copies differ" % n)
            for start, end in zip([0] + ends, ends[:need]):
                data = whole_[start + 2:end]
                tree.append(sha(b"\0", data))
                levels[0].append(sha(b"\0", data))
                yield data
        if tree.root() != point_.root:
            self.bad("ledger-damaged", "the leaves are not those of the checkpoint")
        while levels[level]:
            hashes = levels[level]
            for n in range((len(hashes) + 255) // 256):
                want = b"".join(hashes[n * 256:n * 256 + 256])
                files = [(w, open(p, "rb").read()) for w, p in self.copies(str(level), n)]
                if not any(w * 32 >= len(want) for w, _ in files) or any(len(raw) != w * 32 or raw[:len(want)] != want[:w * 32] for w, raw in files):
                    self.bad("ledger-damaged", "tile %d/%d" % (level, n))
            levels.append([root_of(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)])
            level += 1
    def name(self, want, have):
        missing, extra = ({h: i for h, i in a.items() if h not in b} for a, b in ((want, have), (have, want)))
        for h, record in missing.items():
            self.bad("record-changed" if record in extra.values() else "record-removed", "the outside copy has it so", record)
        for h, record in extra.items():
            if record not in missing.values():
                self.bad("record-added", "the outside copy has it not", record)
        return bool(missing or extra)

def verify(root, outside, key):
    store = Store(root)
    if not os.path.isdir(os.path.join(root, "journal")):
        raise Damaged("no journal here")
    pub, points, expected, own = os.path.join(root, "keys", "ledger.pub"), [], {}, None
    store_key = open(pub).read() if os.path.isfile(pub) else ""
    if os.path.exists(os.path.join(root, "ledger")) or store_key:
        try:
            own = Checkpoint(open(os.path.join(root, "ledger", "checkpoint"), "rb").read(), key or store_key)
        except (Damaged, OSError) as err:
            store.bad("checkpoint-invalid", str(err))
    if outside:
        points, expected = load_outside(outside, key, key or store_key, store.findings)
    streams = {s: store.stream(s) for s in sorted(os.listdir(os.path.join(root, "journal")))}
    held, roots, want, have, odd = Tree(), {0: sha()}, {}, {}, ""
    leaves = store.leaves(own) if own else iter(())
    for i in range(max([own.size if own else 0] + [p.size for p in points])):
        leaf, copy = next(leaves, None), expected.get(i)
        if leaf is None and copy is None:
            break
        try:
            name = copy["stream"] if copy else parse_head(leaf)["stream"]
        except (Damaged, KeyError) as err:
            store.bad("ledger-damaged", "leaf %d is not a head: %s" % (i, err))
            continue
        head, ids, hashes = next(streams.get(name, iter(())), (b"", [], []))
        if leaf is not None and head != leaf:
            store.bad("ledger-differs", "leaf %d is not the head of the next frame of stream %s" % (i, name))
        if copy:
            want.update(zip(copy["hashes"], copy["ids"]))
            have.update(zip([h.hex() for h in hashes], ids))
            if not odd and (head != copy["head"].encode() or [h.hex() for h in hashes] != copy["hashes"]):
                odd = "stream %s, frame %d is the first that differs" % (name, copy["seq"])
        held.append(sha(b"\0", head))
        roots[held.size] = held.root() if any(p.size == held.size for p in points) else None
    any(False for rest in [leaves, *streams.values()] for _ in rest)
    named = store.name(want, have)
    if odd and not named:
        store.bad("record-moved", odd)
    for record in store.waiting - store.certified:
        store.bad("content-missing", "gone without a certificate", record)
    for p in points:
        if roots.get(p.size) != p.root or own is None or own.size < p.size:
            store.bad("checkpoint-differs", "differs from the checkpoint of %s%s" % (when(p.time), "" if named or odd else ", place unknown"))
    return store, max(points, key=lambda p: p.size, default=None)

def when(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

def main():
    args = argparse.ArgumentParser(usage=__doc__)
    args.add_argument("--json", action="store_true")
    for name in ("--key", "--checkpoint"):
        args.add_argument(name, default="")
    args.add_argument("directory")
    args = args.parse_args()
    try:
        store, newest = verify(args.directory, args.checkpoint, args.key)
    except (Damaged, OSError, ValueError, KeyError, TypeError) as err:
        print("verify.py: error: %s" % err, file=sys.stderr)
        return 2
    verdict = "BROKEN" if store.findings else "PROVEN" if newest else "CONSISTENT, NOT PROVEN"
    words = verdict + " since " + when(newest.time) if verdict == "PROVEN" else verdict
    findings = [{"kind": k, "record": r, "detail": d} for k, r, d in store.findings]
    print(json.dumps({"verdict": verdict, "words": words, "records": store.records, "findings": findings}) if args.json else words + "".join("\n  %s: %s %s" % finding for finding in store.findings))
    return 1 if store.findings else 0

if __name__ == "__main__":
    sys.exit(main())
