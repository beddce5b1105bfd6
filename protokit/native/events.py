"""What the engine tells of requests: held for a filter, answered, malformed, ended, or to be asked about.

An ``Op`` is a few numbers; here is what goes with some of them, and the records that come in rings of their
own. No start imports it.
"""

from __future__ import annotations

import functools
import itertools
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from protokit._native import ffi
from protokit.native import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protokit.native import Op

    Take = Callable[[Any, int], int]  # of a ring: into a buffer of so many records

_END = struct.Struct("<QQQQQIIIIHHHH440s")
_ASK = struct.Struct("<QQQII488s")
_MALFORMED = struct.Struct("<IIQ16sHBBI8s")


def held_bytes(op: Op) -> bytes:
    """The frame of an OP_FILTER event, copied."""
    return bytes(ffi.buffer(ffi.cast("const char *", op.data), op.size & 0xFFFFFFFF))


def held_cluster(op: Op) -> int | None:
    """Where a request of an OP_FILTER event goes; None: nowhere."""
    cluster = op.size >> 32
    return None if cluster == NONE else cluster


class Answered(NamedTuple):
    """What an OP_ANSWER event tells, copied.

    Attributes:
        took: from sending to the answer, nanoseconds.
        endpoint: whose it is, its uid.
        cluster: its number in the table.
        status: PK_STATUS_*.
        asked: the request's bytes, as it was sent.
        frame: the answer's.
    """

    took: int
    endpoint: int
    cluster: int
    status: int
    asked: bytes
    frame: bytes

    @classmethod
    def of(cls, op: Op) -> Answered:
        """What it tells."""
        about = ffi.cast("const pk_answered *", op.data)
        data = ffi.buffer(ffi.cast("const char *", op.data), op.size)[ffi.sizeof("pk_answered") :]
        asked, frame = data[: about.asked], data[about.asked :]
        return cls(about.took, about.endpoint, about.cluster, about.status, asked, frame)


class Malformed(NamedTuple):
    """What a peer sent that is no frame (``core.h``, pk_malformed).

    Attributes:
        owner: its listener's number, or of a server the endpoint's.
        peer: where it comes from, "127.0.0.1:40001"; "" where that is not known.
        error: PK_ERR_*.
        at: which byte of the frame is wrong.
        head: at most 8 bytes that the frame begins with.
    """

    owner: int
    peer: str
    error: int
    at: int
    head: bytes

    @classmethod
    def of(cls, op: Op) -> Malformed:
        """What an OP_MALFORMED or OP_MALFORMED_ANSWER tells."""
        _, owner, _, address, port, error, count, at, head = _MALFORMED.unpack(op.packed())
        if not any(address):
            peer = ""
        elif address.startswith(bytes(10) + b"\xff\xff"):
            peer = f"{socket.inet_ntop(socket.AF_INET, address[12:])}:{port}"
        else:
            peer = f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{port}"
        return cls(owner, peer, -error, at, head[:count])


class Asked(NamedTuple):
    """A key of a rule's limit that a limiter is asked about (``core.h``, pk_ask).

    Attributes:
        state: whose, its address.
        key: its hash.
        requests: that came since it was asked about last.
        values: of the key, each as much as there was room for.
        known: whether what was said of it holds still.
    """

    state: int
    key: int
    requests: int
    values: tuple[bytes, ...]
    known: bool

    @classmethod
    def of(cls, record: tuple[Any, ...]) -> Asked:
        """Of the record's members."""
        state, key, requests, count, known, text = record
        values, at = [], 0
        for _ in range(count):
            values.append(text[at + 1 : at + 1 + text[at]])
            at += 1 + text[at]
        return cls(state, key, requests, tuple(values), bool(known))


class Ended(NamedTuple):
    """What became of a request (``core.h``, pk_end)."""

    token: int
    took: int
    asked: int
    answered: int
    chain: int
    cluster: int
    endpoint: int
    status: int
    oneway: bool
    service: str
    method: str
    reason: str

    @classmethod
    def of(cls, record: tuple[Any, ...]) -> Ended:
        """Of the record's members."""
        token, _, took, asked, answered, chain, cluster, endpoint, status, oneway, *sizes, text = record
        ends = [*itertools.accumulate(sizes, initial=0)]
        texts = [text[a:b].decode("utf-8", "replace") for a, b in itertools.pairwise(ends)]
        return cls(token, took, asked, answered, chain, cluster, endpoint, status, bool(oneway), *texts)


@functools.cache
def _buffer(type_: str) -> Any:
    return ffi.new(f"{type_}[]", 256)  # one for all: it is copied before the next is asked


def _waiting(type_: str, record: struct.Struct, take: Take) -> Iterator[tuple[Any, ...]]:
    """Records of a ring that wait, without all those that come meanwhile."""
    buffer = _buffer(type_)
    for _ in range(16):
        count = take(buffer, len(buffer))
        yield from record.iter_unpack(bytes(ffi.buffer(buffer, count * record.size)))
        if count < len(buffer):
            return


def ends(take: Take) -> list[Ended]:
    """What became of requests whose ends filters are told."""
    return list(map(Ended.of, _waiting("pk_end", _END, take)))


def asks(take: Take) -> list[Asked]:
    """The keys of limits that limiters are asked about."""
    return list(map(Asked.of, _waiting("pk_ask", _ASK, take)))
