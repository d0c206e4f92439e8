"""A commit: one atomic append of 1 to 10,000 events to one stream, and its canonical bytes.

The bytes are fixed in docs/format.md. In short, a commit is a MessagePack array of two parts:

    [ header: bytes, payloads: [bytes, ...] ]

The header holds everything that order, fold and proofs need, and the SHA-256 of each payload, so
that a payload can be erased one day without touching them. The commit hash is over the header.
The header in turn ends with the *entry*: the part that the caller decides. Two appends with the
same commit id are the same append if their entries are the same bytes.

Costs are per commit: per event there is one hash and one slot in a few lists, no object.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Final

import msgpack
import msgspec

from .errors import BadFrame
from .limits import (
    COMMIT_BYTES_MAX,
    COMMIT_EVENTS_MAX,
    EVENT_BYTES_MAX,
    RECORD_BYTES_MAX,
    STREAM_NAME_BYTES_MAX,
    TYPE_BYTES_MAX,
)

FORMAT: Final = 1

# What an append expects of its stream: the revision of the last event, or one of these.
EXPECT_NONE: Final = -1  # the stream is empty: its "last revision" is -1
EXPECT_ANY: Final = -2
EXPECT_EXISTS: Final = -3

# What becomes of a commit whose expectation does not hold in the final order.
REJECT: Final = 0
KEEP: Final = 1

_HASH_BYTES: Final = 32
_ID_BYTES: Final = 16
_FORMAT_BYTE: Final = bytes([FORMAT])
_HEADER_MARK: Final = b"\x97"  # an array of seven
_ENTRIES_MARK: Final = b"\x91"  # an array of one entry: room for several streams of one shard
# What a slim commit begins with.
_AS_IT_IS: Final = b"\x00"
_NO_HASHES: Final = b"\x01"  # nor cuts, because there are none
_CUTS_ASIDE: Final = b"\x02"
_NO_CUTS: Final = b"\xc0"
_sha256 = hashlib.sha256
_pack = msgpack.Packer(use_bin_type=True).pack

# The shapes of header and commit. What does not fit is refused before it takes any memory.
_Types = Annotated[tuple[str, ...], msgspec.Meta(max_length=COMMIT_EVENTS_MAX)]
_Cuts = Annotated[tuple[int, ...], msgspec.Meta(max_length=COMMIT_EVENTS_MAX)]
_Payloads = Annotated[tuple[bytes, ...], msgspec.Meta(max_length=COMMIT_EVENTS_MAX)]
_Entry = tuple[str, int, int, _Types, bytes, bytes, _Cuts | None]


class Attributes(msgspec.Struct, forbid_unknown_fields=True):
    """What an event may have besides id, type and data (docs/format.md)."""

    content_type: str | None = None
    time: str | None = None
    metadata: dict[str, str] | None = None
    tags: list[str] | None = None


_decode_header = msgspec.msgpack.Decoder(
    tuple[int, int, int, int, int, bytes, tuple[_Entry]]
).decode
_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode
_decode_parts = msgspec.msgpack.Decoder(tuple[bytes, _Payloads]).decode
_decode_aside = msgspec.msgpack.Decoder(tuple[bytes, _Payloads, bytes]).decode


def pack(value: object) -> bytes:
    """Canonical MessagePack: shortest forms, raw bytes as bin, text as str."""
    packed: bytes = _pack(value)
    return packed


def unpack(data: bytes | memoryview) -> Any:
    """Read MessagePack that came from outside, with every length bounded by what is there.

    Raises BadFrame for anything that is not exactly one value.
    """
    try:
        return msgpack.unpackb(data, use_list=False, strict_map_key=False, raw=False)
    except (ValueError, TypeError, RecursionError, UnicodeError, msgpack.UnpackException) as error:
        detail = str(error) or type(error).__name__
        raise BadFrame(f"these {len(data)} bytes are not one MessagePack value: {detail}") from None


@lru_cache(maxsize=20_000)
def shard_of(stream: str, shards: int) -> int:
    """The shard of a stream: SHA-256 of its name, or of its {part in braces}, mod `shards`."""
    name = stream
    opening = stream.find("{")
    if opening >= 0:
        closing = stream.find("}", opening + 1)
        if closing > opening + 1:
            name = stream[opening + 1 : closing]
    return int.from_bytes(_sha256(name.encode()).digest()[:8], "big") % shards


def keyed_commit_id(stream: str, key: str) -> bytes:
    """The id of an append with an idempotency key: the same pair is the same append."""
    name = stream.encode()
    return _sha256(b"key\x00%d\x00%s%s" % (len(name), name, key.encode())).digest()[:_ID_BYTES]


def listed_commit_id(stream: str, ids: bytes) -> bytes:
    """The id of an append whose events all carry their own ids."""
    name = stream.encode()
    return _sha256(b"ids\x00%d\x00%s%s" % (len(name), name, ids)).digest()[:_ID_BYTES]


class Draft:
    """What a caller wants appended, checked and packed, before it has a stamp.

    `types` holds one type for each event, or a single one for all. `ids` is empty, or 16 bytes an
    event (all zero: derived from the commit id). `cuts`, where given, says how many bytes of each
    payload are data; the rest are its attributes (see docs/format.md). `named`: the caller named
    the append, so it may be here already; a random commit id can't be. `again`: it was stamped
    before, so another append may stand under its id by now.
    """

    __slots__ = (
        "again",
        "commit_id",
        "count",
        "entry",
        "expected",
        "named",
        "payloads",
        "policy",
        "stream",
    )

    def __init__(
        self,
        stream: str,
        types: list[str],
        payloads: list[bytes],
        *,
        commit_id: bytes,
        ids: bytes = b"",
        cuts: list[int] | None = None,
        expected: int = EXPECT_ANY,
        policy: int = REJECT,
    ) -> None:
        self.stream = stream
        self.named = True
        self.again = False
        self.commit_id = commit_id
        self.expected = expected
        self.policy = policy
        self.payloads = payloads
        self.count = len(payloads)
        if types.count(types[0]) == len(types):
            types = types[:1]
        if not any(ids):
            ids = b""
        if cuts is not None and cuts == [len(payload) for payload in payloads]:
            cuts = None
        hashes = _hashes_of(payloads)
        self.entry = pack((stream, expected, policy, types, ids, hashes, cuts))

    @classmethod
    def of(cls, commit: Commit, payloads: tuple[bytes, ...]) -> Draft:
        """The append that made a commit, to be stamped once more: the same id and entry."""
        draft = cls.__new__(cls)
        draft.stream, draft.commit_id = commit.stream, commit.id
        draft.named = draft.again = True
        draft.expected, draft.policy = commit.expected, commit.policy
        draft.payloads, draft.count, draft.entry = list(payloads), commit.count, commit.entry
        return draft


class Commit:
    """A stamped commit. It never changes.

    `header` and `payloads` are its canonical bytes; the rest is read from the header. `payloads`
    is None where only the header was of interest.
    """

    __slots__ = (
        "count",
        "cuts",
        "expected",
        "hashes",
        "header",
        "hlc",
        "id",
        "ids",
        "origin",
        "payloads",
        "policy",
        "seq",
        "shard",
        "stream",
        "types",
    )

    header: bytes
    payloads: tuple[bytes, ...] | list[bytes] | None
    shard: int
    origin: int
    seq: int
    hlc: int
    id: bytes
    stream: str
    expected: int
    policy: int
    types: tuple[str, ...]
    ids: bytes
    hashes: bytes
    cuts: tuple[int, ...] | None
    count: int

    @property
    def entry(self) -> bytes:
        """The part of the header that the caller decided."""
        return self.header[len(_front(self)) :]

    @property
    def hash(self) -> bytes:
        """The commit hash: SHA-256 over a zero byte (a leaf, RFC 9162) and the header."""
        return commit_hash(self.header)


def commit_hash(header: bytes) -> bytes:
    """SHA-256 over a zero byte and the header of a commit."""
    return _sha256(b"\x00" + header).digest()


def stamped(draft: Draft, shard: int, origin: int, seq: int, hlc: int) -> tuple[bytes, bytes]:
    """Give a draft its place: its header, and its canonical bytes as they are stored and sent."""
    front = _pack((FORMAT, shard, origin, seq, hlc, draft.commit_id))
    header = b"".join((_HEADER_MARK, front[1:], _ENTRIES_MARK, draft.entry))
    return header, _pack((header, draft.payloads))


def read_header(data: bytes) -> Commit:
    """The commit in `data` without its payloads; only its structure is checked.

    For bytes whose checksum held, from this node's own log. Raises BadFrame.
    """
    header = _header_bytes(data)
    if header[1:2] != _FORMAT_BYTE:
        raise BadFrame(f"a commit of format {header[1:2].hex()}; this version reads {FORMAT:02x}")
    commit = Commit()
    commit.header = header
    commit.payloads = None
    try:
        _, commit.shard, commit.origin, commit.seq, commit.hlc, commit.id, (entry,) = (
            _decode_header(header)
        )
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a commit header is not what it should be: {error}") from None
    (
        commit.stream,
        commit.expected,
        commit.policy,
        commit.types,
        commit.ids,
        commit.hashes,
        commit.cuts,
    ) = entry
    commit.count = len(commit.hashes) // _HASH_BYTES
    return commit


def read_payloads(data: bytes) -> tuple[Commit, tuple[bytes, ...]]:
    """The commit in `data` and its payloads; for bytes from this node's own log."""
    commit = read_header(data)
    payloads = commit.payloads = _payloads_in(data)
    return commit, payloads


def receive(data: bytes, shards: int) -> Commit:
    """Read a commit that came from a peer and check all of it: types, limits, shard, hashes.

    Nothing that this returns can surprise the log, the fold or a reader. Raises BadFrame.
    """
    if len(data) > RECORD_BYTES_MAX:
        raise BadFrame(f"a commit of {len(data)} bytes; the limit is {RECORD_BYTES_MAX}")
    commit = read_header(data)
    payloads = _payloads_in(data)
    _check_ranges(commit)
    _check_columns(commit, payloads)
    if commit.shard != shard_of(commit.stream, shards):
        raise BadFrame(f"stream {commit.stream!r} is not of shard {commit.shard}")
    if _hashes_of(payloads) != commit.hashes:
        raise BadFrame("a payload does not have the hash that its header names")
    commit.payloads = payloads
    if pack((commit.header, payloads)) != data or _front(commit) + _entry(commit) != commit.header:
        raise BadFrame("a commit is not in its canonical form")
    return commit


def _payloads_in(data: bytes) -> tuple[bytes, ...]:
    try:
        return _decode_parts(data)[1]
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a commit is an array of header and payloads: {error}") from None


def slim(body: bytes) -> bytes:
    """A commit without what `whole` can work out again: the hashes of its payloads.

    Any bytes may be given: those that are no canonical commit, or whose payloads don't have the
    hashes that are named, stay as they are, behind a mark.
    """
    try:
        header, payloads = _decode_parts(body)
        if not payloads or pack((header, payloads)) != body:
            return _AS_IT_IS + body
        hashes = pack(_hashes_of(payloads))
        if header.endswith(hashes + _NO_CUTS):
            front = header[: -len(hashes) - len(_NO_CUTS)]
            return _NO_HASHES + pack((front, payloads))
        cuts = pack(read_header(body).cuts)
    except (BadFrame, ValueError, RecursionError):
        return _AS_IT_IS + body
    if not header.endswith(hashes + cuts):
        return _AS_IT_IS + body
    return _CUTS_ASIDE + pack((header[: -len(hashes) - len(cuts)], payloads, cuts))


def whole(slimmed: bytes) -> bytes:
    """The commit that `slim` was given. Raises BadFrame for what it never makes."""
    mark, rest, cuts = slimmed[:1], slimmed[1:], _NO_CUTS
    if mark == _AS_IT_IS:
        return rest
    try:
        if mark == _NO_HASHES:
            front, payloads = _decode_parts(rest)
        elif mark == _CUTS_ASIDE:
            front, payloads, cuts = _decode_aside(rest)
        else:
            raise BadFrame(f"a slim commit begins with {mark.hex()}, which this version never made")
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a slim commit is not in its form: {error}") from None
    return pack((b"".join((front, _pack(_hashes_of(payloads)), cuts)), payloads))


def _hashes_of(payloads: tuple[bytes, ...] | list[bytes]) -> bytes:
    return b"".join([_sha256(payload).digest() for payload in payloads])


def _check_ranges(commit: Commit) -> None:
    if not (0 < commit.origin < 1 << 64 and 0 < commit.seq < 1 << 63 and 0 < commit.hlc < 1 << 64):
        raise BadFrame("origin, sequence or stamp is out of range")
    if not (EXPECT_EXISTS <= commit.expected < 1 << 62 and commit.policy in (REJECT, KEEP)):
        raise BadFrame("expectation or policy is out of range")
    if len(commit.id) != _ID_BYTES:
        raise BadFrame("a commit id has 16 bytes")
    if not 0 < len(commit.stream.encode()) <= STREAM_NAME_BYTES_MAX:
        raise BadFrame(f"a stream has a name of 1 to {STREAM_NAME_BYTES_MAX} bytes")


def _check_columns(commit: Commit, payloads: tuple[bytes, ...]) -> None:
    count = len(payloads)
    if not 0 < count <= COMMIT_EVENTS_MAX:
        raise BadFrame(f"a commit has 1 to {COMMIT_EVENTS_MAX} events, this has {count}")
    types = commit.types
    if len(types) not in (1, count) or (count > 1 and types.count(types[0]) == count):
        raise BadFrame("types are one for all events, or one for each where they differ")
    if not all(0 < len(name.encode()) <= TYPE_BYTES_MAX for name in types):
        raise BadFrame(f"an event type is a text of 1 to {TYPE_BYTES_MAX} bytes")
    if commit.ids and (len(commit.ids) != _ID_BYTES * count or not any(commit.ids)):
        raise BadFrame("event ids are none, or 16 bytes for each event and not all zero")
    if len(commit.hashes) != _HASH_BYTES * count:
        raise BadFrame("payload hashes are 32 bytes for each event")
    sizes = tuple(map(len, payloads))
    if max(sizes) > EVENT_BYTES_MAX or sum(sizes) > COMMIT_BYTES_MAX:
        raise BadFrame(f"an event is over {EVENT_BYTES_MAX} bytes, or all over {COMMIT_BYTES_MAX}")
    cuts = commit.cuts
    if cuts is None:
        return
    if len(cuts) != count or cuts == sizes:
        raise BadFrame("cuts are none, or one for each event where one has attributes")
    if not all(0 <= cut <= size for cut, size in zip(cuts, sizes, strict=True)):
        raise BadFrame("a cut is within its payload")
    for cut, payload in zip(cuts, payloads, strict=True):
        if cut < len(payload):
            _check_attributes(payload[cut:])


def _check_attributes(packed: bytes) -> None:
    try:
        _decode_attributes(packed)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"the attributes of an event are not what they should be: {error}") from None


def _front(commit: Commit) -> bytes:
    """The bytes of a header before its entry."""
    front = _pack((FORMAT, commit.shard, commit.origin, commit.seq, commit.hlc, commit.id))
    return b"".join((_HEADER_MARK, front[1:], _ENTRIES_MARK))


def _entry(commit: Commit) -> bytes:
    return pack(
        (
            commit.stream,
            commit.expected,
            commit.policy,
            commit.types,
            commit.ids,
            commit.hashes,
            commit.cuts,
        )
    )


_BIN_SIZES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}


def _header_bytes(data: bytes) -> bytes:
    """Cut the header out of `[header, payloads]` without reading the payloads."""
    size = _BIN_SIZES.get(data[1]) if len(data) > 2 and data[0] == 0x92 else None
    if size is None:
        raise BadFrame("a commit is an array of header and payloads")
    start = 2 + size
    end = start + int.from_bytes(data[2:start], "big")
    if end > len(data):
        raise BadFrame("a commit header is longer than its record")
    return data[start:end]
