"""Every error that the package raises on purpose.

    AnabranchError
    |-- CallerError            the request is at fault, nothing was written
    |   |-- BadRequest         400  malformed
    |   |-- NotFound           404  no such stream, commit or path
    |   |-- WrongMethod        405  the path is right, the verb is not
    |   |-- RevisionConflict   409  the expected revision does not hold
    |   |   `-- RejectedForGood      409  nor did it at the commit's final place, which is known
    |   |-- ChangeRefused      409  a change of the members that can't be made as it is asked for
    |   |-- TooLarge           413  over a limit
    |   |-- UnsupportedMedia   415  a body of a kind that is not known
    |   |-- Unprocessable      422  well-formed, but contradicts itself or an earlier request
    |   |-- Overloaded         429  more than the node can buffer: try again
    |   `-- NotBuiltYet        501  part of the interface, not of this version
    |-- Unavailable            503  this node can't serve it now; the message says what to do
    |-- PeerError              another node's bytes or behaviour are at fault
    |   |-- BadFrame           bytes that are no message
    |   |-- Refused            the other side does not want this link, or we don't
    |   `-- LinkLost           the connection is gone
    `-- DiskError              the disk or what is on it is at fault
        |-- DiskFull           507
        |-- DamagedLog         503  a record that is not what was written
        |-- DamagedIndex       503  the index is not what the log says: it will be rebuilt
        |-- SyncFailed         the process must end: what it said may not be true
        |-- Unconfirmed        503  an append that was under way then: it may survive or not
        `-- DirectoryInUse     another process has the directory
    ConfigError                the configuration file is at fault

A message says what was wrong, with the value, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AnabranchError(Exception):
    """The parent of all errors of this package; `status` is the HTTP status it becomes."""

    status: ClassVar[int] = 500


class ConfigError(AnabranchError):
    """The configuration is wrong; the message names the file, the field and the remedy."""


class CallerError(AnabranchError):
    """The request is at fault. Nothing was written."""

    status = 400


class BadRequest(CallerError):
    """The request is malformed."""


class NotFound(CallerError):
    """There is no such thing here."""

    status = 404


class WrongMethod(CallerError):
    """The path exists, but not for this verb."""

    status = 405


class RevisionConflict(CallerError):
    """The stream is not where the caller expected it; `revision` is its last one, -1 if empty."""

    status = 409

    def __init__(self, message: str, stream: str, expected: int, revision: int) -> None:
        super().__init__(message)
        self.stream = stream
        self.expected = expected
        self.revision = revision


class RejectedForGood(RevisionConflict):
    """A commit that was written and did not fit at its final place; `answer` says where that is."""

    def __init__(
        self, message: str, stream: str, expected: int, revision: int, answer: dict[str, str]
    ) -> None:
        super().__init__(message, stream, expected, revision)
        self.answer = answer


class ChangeRefused(CallerError):
    """A change of the members that makes no sense, or needs --force; the message says which."""

    status = 409


class TooLarge(CallerError):
    """Something is over its limit."""

    status = 413


class UnsupportedMedia(CallerError):
    """The body is of a kind that is not known."""

    status = 415


class Unprocessable(CallerError):
    """The request is well-formed but contradicts itself or an earlier one."""

    status = 422


class Overloaded(CallerError):
    """More is waiting to be written than the node may buffer."""

    status = 429


class NotBuiltYet(CallerError):
    """The interface has it, this version does not."""

    status = 501


class Unavailable(AnabranchError):
    """The node can't serve this now."""

    status = 503


class PeerError(AnabranchError):
    """Another node is at fault."""

    status = 502


class BadFrame(PeerError):
    """Bytes from a peer that are not what the protocol says."""


class Refused(PeerError):
    """One side of a link does not want it; the message says why."""


class LinkLost(PeerError):
    """The connection to a peer is gone."""


class DiskError(AnabranchError):
    """The disk, or what is on it, is at fault."""

    status = 503


class DiskFull(DiskError):
    """There is no room to write."""

    status = 507


class DamagedLog(DiskError):
    """A record is not what was written; the message names file and offset.

    `position` and `end` say which range of the log is concerned, where that is known.
    """

    def __init__(self, message: str, position: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.position = position
        self.end = end


class DamagedIndex(DiskError):
    """The index is damaged: the node ends, and rebuilds it from the log when it starts again."""


class SyncFailed(DiskError):
    """The disk did not confirm a write. The process must end."""


class Unconfirmed(DiskError):
    """The disk failed while an append was on its way to it: it may survive or not."""


class DirectoryInUse(DiskError):
    """Another process works in this data directory."""
