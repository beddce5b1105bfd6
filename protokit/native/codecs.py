"""Codecs by their addresses: those that are made here, and what any of them says of itself."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from protokit._native import ffi, lib
from protokit.errors import DeclarationError, PluginError, ProtokitError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Address(int):
    """Of a codec that was made here: it is there as long as this is, and as long as connections speak it.

    Attributes:
        holder: frees the codec with the last address of it.
    """

    holder: Any


def _address(holder: Any) -> Address:
    address = Address(ffi.cast("uintptr_t", holder))
    address.holder = holder
    return address


def _holder(address: int) -> Any:  # a cffi pointer has no type of its own
    return ffi.gc(ffi.cast("pk_codec *", address), lib.pk_codec_release)


_declared: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()


def declared(image: bytes) -> Address:
    """Load a compiled declaration; one that is there already is the same codec.

    Returns:
        The address of its codec.

    Raises:
        DeclarationError: the program is not well formed.
    """
    holder = _declared.get(image)
    if holder is None:
        error = ffi.new("const char **")
        address = lib.pk_codec_declared(image, len(image), error)
        if address == 0:
            why = ffi.string(error[0]).decode()
            if why.endswith("a frame may have no bytes"):
                why += ": each of its parts is left out by a condition of its own; write IfThenElse or Switch"
                why += " where one or another is there"
            raise DeclarationError(f"the compiled format was refused: {why}")
        holder = _declared[image] = _holder(address)
    return _address(holder)


def envelope_codec(
    name: str,
    *,
    mode: int,
    id_bytes: int,
    reserved_ids: Sequence[int],
    heartbeats: bool,
    drains: bool,
    optional_drain: bool,
    keeps: bool,
    pinned: bool = False,
) -> Address:
    """The address of a codec that stands for one in Python (``envelope.h``)."""
    said = (heartbeats, drains, optional_drain, keeps, pinned)
    features = sum(int(one) << bit for bit, one in enumerate(said))
    address = lib.pk_envelope_new(
        name.encode() + b"\0", mode, id_bytes, list(reserved_ids), len(reserved_ids), features
    )
    if address == 0:
        raise ProtokitError("out of memory")
    return _address(_holder(address))


def holders(codec: int) -> int:
    """How many hold a codec that was made here: its addresses as one, each connection that speaks it."""
    return int(lib.pk_codec_held(codec))


def codecs() -> int:
    """How many codecs there are that were made here."""
    return int(lib.pk_codecs_loaded())


def step_address(name: str) -> int:
    """The address of a step that comes with the core."""
    return int(lib.pk_core_step(name.encode() + b"\0"))


def measure_address(name: str) -> int:
    """The address of a measure that comes with the core."""
    return int(lib.pk_core_measure(name.encode() + b"\0"))


def check_codec(address: int, name: str) -> None:
    """Raise PluginError unless the engine can use the ``pk_codec`` at ``address``."""
    problem = lib.pk_codec_check(address)
    if problem != ffi.NULL:
        raise PluginError(f"the codec of protocol {name!r} cannot be used: {ffi.string(problem).decode()}")


def state_size(codec: int) -> int:
    """Bytes that framing keeps of each direction of a connection."""
    return int(lib.pk_codec_state_size(codec))


def reads_arguments(codec: int) -> bool:
    """Whether arguments of its calls can be read."""
    return bool(lib.pk_codec_reads_arguments(codec))


def reads_inside(codec: int) -> bool:
    """Whether what is inside of its arguments can be."""
    return bool(lib.pk_codec_reads_inside(codec))


CHANGES = ("headers", "service", "method", "version", "group", "answer")  # EDIT_*, and headers of answers


def edits(codec: int) -> frozenset[str]:
    """What the engine can change in its frames, of CHANGES; the rest is done in Python, if at all."""
    bits = lib.pk_codec_edits(codec)
    return frozenset(name for bit, name in enumerate(CHANGES) if bits >> bit & 1)


def has_budget(codec: int) -> bool:
    """Whether its requests can be given another time of their caller's."""
    return bool(lib.pk_codec_has_budget(codec))


def name(codec: int) -> str:
    """What the codec calls itself."""
    return str(ffi.string(lib.pk_codec_name(codec)).decode())


def mode(codec: int) -> int:
    """How requests share a connection: 0 multiplexed, 1 in order, 2 one at a time."""
    return int(lib.pk_codec_mode(codec))


def id_bytes(codec: int) -> int:
    """How wide its ids are; 0 without."""
    return int(lib.pk_codec_id_bytes(codec))


def rewrites_ids(codec: int) -> bool:
    """Whether ids can be changed in its frames; True where there are none."""
    return bool(lib.pk_codec_rewrites(codec))


def pinned(codec: int) -> bool:
    """Whether each client needs an upstream connection of its own: it says so, or has ids that must stay."""
    return bool(lib.pk_codec_pinned(codec))


def optional_drain(codec: int) -> bool:
    """Whether its signal to go elsewhere is sent only where the listener says so (``goaway``)."""
    return bool(lib.pk_codec_optional_drain(codec))


def id_max(codec: int) -> int:
    """Bytes of the longest id, where ids are byte strings; else 0."""
    return int(lib.pk_codec_id_max(codec))


def greeting(codec: int) -> tuple[str, ...]:
    """Who says each step of what is said before requests: ``client`` or ``server``."""
    server = lib.pk_codec_greeting_server(codec)
    steps = range(lib.pk_codec_greeting_steps(codec))
    return tuple("server" if server >> step & 1 else "client" for step in steps)


def greeting_options(codec: int) -> tuple[str, ...]:
    """Of each step: ``must``, ``may`` be left out, or goes ``with`` the one in front of it."""
    may, goes = lib.pk_codec_greeting_optional(codec), lib.pk_codec_greeting_with(codec)
    steps = range(lib.pk_codec_greeting_steps(codec))
    return tuple("may" if may >> step & 1 else "with" if goes >> step & 1 else "must" for step in steps)


def relays_greetings(codec: int) -> bool:
    """Whether greetings are passed on between a client and the connection that is its own."""
    return bool(lib.pk_codec_greeting_relayed(codec))


def server_first(codec: int) -> bool:
    """Whether a client waits for its server's greeting before it says anything."""
    return greeting(codec)[:1] == ("server",) or lib.pk_codec_greeting_relayed(codec) == 2
