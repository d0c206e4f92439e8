"""The bytes of what members say to agree on an epoch (docs/protocol.md is the normative page)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.msgpack import Decoder

from ..storage.commit import pack
from ..storage.errors import BadFrame
from ..storage.limits import SHARDS_MAX
from .epoch import Frozenness, read_epoch
from .epochs import Accept, Accepts, Ask, Ballot, Freeze, Frozen, Learn, Message, Outbid

_FREEZE: Final = 1
_FROZEN: Final = 2
_ACCEPT: Final = 3
_ACCEPTS: Final = 4
_OUTBID: Final = 5
_ASK: Final = 6
_LEARN: Final = 7
_BALLOTS: Final = frozenset({_FREEZE, _FROZEN, _ACCEPT, _ACCEPTS})

_Word = Annotated[int, Meta(ge=0)]
_Ballot = tuple[_Word, _Word]
_Rows = tuple[tuple[Annotated[int, Meta(ge=0, lt=SHARDS_MAX)], _Word, _Word], ...]
_READERS: Final = {
    _FREEZE: Decoder(tuple[int, _Word, _Ballot, bool]).decode,
    _FROZEN: Decoder(tuple[int, _Word, _Ballot, _Word, _Rows, tuple[_Ballot, bytes] | None]).decode,
    _ACCEPT: Decoder(tuple[int, _Word, _Ballot, bytes]).decode,
    _ACCEPTS: Decoder(tuple[int, _Word, _Ballot]).decode,
    _OUTBID: Decoder(tuple[int, _Word, _Ballot]).decode,
    _ASK: Decoder(tuple[int, _Word]).decode,
    _LEARN: Decoder(tuple[int, bytes]).decode,
}


def packed(message: Message) -> bytes:
    """The bytes of a message."""
    return pack(_parts(message))


def has_ballots(parts: Iterable[bytes]) -> bool:
    """Whether whoever says this takes part in a ballot, which only those do who are sure."""
    return any(len(part) > 1 and part[1] in _BALLOTS for part in parts)


def _parts(message: Message) -> tuple[Any, ...]:
    match message:
        case Freeze(epoch, ballot, forced):
            return _FREEZE, epoch, ballot, forced
        case Frozen(epoch, ballot, answer, accepted):
            kept = accepted and (accepted[0], accepted[1].packed)
            return _FROZEN, epoch, ballot, answer.promised, answer.held, kept
        case Accept(epoch, ballot, value):
            return _ACCEPT, epoch, ballot, value.packed
        case Accepts(epoch, ballot):
            return _ACCEPTS, epoch, ballot
        case Outbid(epoch, ballot):
            return _OUTBID, epoch, ballot
        case Ask(epoch):
            return _ASK, epoch
        case Learn(value):
            return _LEARN, value.packed


def unpacked(data: bytes) -> Message:
    """The message in these bytes. Raises BadFrame for anything else."""
    if len(data) < 2 or data[0] & 0xF0 != 0x90 or data[1] not in _READERS:
        raise BadFrame("a message about epochs of unknown kind")
    try:
        parts: tuple[Any, ...] = _READERS[data[1]](data)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a message about epochs has the wrong parts: {error}") from None
    return _made(parts[0], *parts[1:])


def _made(kind: int, *parts: Any) -> Message:
    match kind:
        case 1:
            return Freeze(*parts)
        case 2:
            epoch, ballot, promised, held, kept = parts
            accepted: tuple[Ballot, Any] | None = kept and (kept[0], read_epoch(kept[1]))
            return Frozen(epoch, ballot, Frozenness(promised, held), accepted)
        case 3:
            return Accept(parts[0], parts[1], read_epoch(parts[2]))
        case 4:
            return Accepts(*parts)
        case 5:
            return Outbid(*parts)
        case 6:
            return Ask(*parts)
        case _:
            return Learn(read_epoch(parts[0]))
