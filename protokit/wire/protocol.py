"""A protocol and the codec it is run by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protokit import native
from protokit.errors import DeclarationError, word
from protokit.wire.codec import EngineCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from protokit.wire.codec import Arguments, Codec, Wire


@word
class NativeCodec:
    """A codec in C, from the plugin's own cffi module.

    Args:
        address: of a constant ``pk_codec`` (``protokit/codec.h``).
        keepalive: whatever keeps that memory there (the module).
        arguments: for filters that ask for them: the arguments of calls as values, and calls with others.
    """

    tier = "native"
    __slots__ = ("address", "arguments", "keepalive", "name")

    def __init__(self, address: int, keepalive: object = None, arguments: Arguments | None = None) -> None:
        self.address = address
        self.keepalive = keepalive
        self.arguments = arguments
        self.name = ""

    @property
    def ask(self) -> Codec:
        """What is asked of it from Python."""
        return EngineCodec(self.address, self.arguments)


@word
class Protocol:
    """A wire protocol; plugins subclass it or make instances.

    Args:
        name: the entry point's name and the configuration's ``protocol:``.
        wire: what reads and writes its frames.
        description: one line for ``protokit plugins``.
        read_body: for ``protokit decode``: what the body of a whole frame says, as values by name (arguments
            by their position, say). No request is read by it; whatever it raises is shown.
        build_call: for health checks that name a service and a method: a whole request without arguments, of
            (service, method, version, group); the last two are empty where there are none. Whatever it raises
            is told at the check.
    """

    def __init__(
        self,
        name: str,
        wire: Wire,
        description: str = "",
        read_body: Callable[[bytes], Mapping[str, object]] | None = None,
        build_call: Callable[[str, str, str, str], bytes] | None = None,
    ) -> None:
        self.name = name
        self.wire = wire
        self.description = description
        self.read_body = read_body
        self.build_call = build_call
        if not isinstance(name, str) or not name or any(one.isspace() for one in name):
            raise DeclarationError(f"Protocol: {name!r} is no name: a word, as the configuration writes it")
        for what, one in (("read_body", read_body), ("build_call", build_call)):
            if one is not None and not callable(one):
                raise DeclarationError(f"{name}: {what}={one!r} is no function")
        if not isinstance(description, str):
            raise DeclarationError(f"{name}: description={description!r} is no text: one line about it")
        if not hasattr(wire, "tier") or isinstance(wire, type):
            from protokit.wire.given import seen  # noqa: PLC0415  # few need it

            raise DeclarationError(
                f"{name}: {seen(wire)} is no codec: write WireFormat(Struct(...), ...), NativeCodec(...) or "
                "an object of a class of PythonCodec"
            )
        wire.name = name
        if not getattr(wire, "tells_answers", True):
            raise DeclarationError(
                f"{name}: response: nothing tells answers from requests; write response=this.kind == 2, or "
                'response=side == "server" where only who sends a frame tells it'
            )

    @property
    def tier(self) -> str:
        """How it runs: ``declared``, ``native`` or ``python``."""
        return self.wire.tier

    @property
    def detectable(self) -> bool:
        """Whether the engine can tell it by a connection's first bytes."""
        return self.tier != "python"

    @property
    def server_first(self) -> bool:
        """Whether a client waits for its server's greeting before it says anything."""
        return native.server_first(self.wire.address)

    @property
    def pinned(self) -> bool:
        """Whether each client needs an upstream connection of its own."""
        return native.pinned(self.wire.address)

    @property
    def relays_greetings(self) -> bool:
        """Whether greetings are passed on between a client and the connection that is its own."""
        return native.relays_greetings(self.wire.address)

    @property
    def reads_headers(self) -> bool:
        """Whether its requests may have headers; of codecs that are not declared that is not known: yes."""
        return getattr(self.wire, "reads_headers", True)

    @property
    def shows_headers(self) -> bool:
        """Whether the engine may see headers of its requests: of a codec in Python it sees none."""
        return self.reads_headers and self.tier != "python"

    @property
    def reads_arguments(self) -> bool:
        """Whether the engine reads arguments of its calls."""
        return native.reads_arguments(self.wire.address)

    @property
    def reads_inside(self) -> bool:
        """Whether the engine reads what is inside of them."""
        return native.reads_inside(self.wire.address)

    @property
    def drain(self) -> str:
        """When its clients are told to go elsewhere: ``always``, ``asked`` (by ``goaway``) or ``never``."""
        address = self.wire.address
        if not native.drain(address):
            return "never"
        return "asked" if native.optional_drain(address) else "always"

    def __repr__(self) -> str:
        return f"Protocol({self.name!r}, {self.tier})"
