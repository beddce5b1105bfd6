"""A protocol and the codec it is run by."""

from __future__ import annotations


class NativeCodec:
    """A codec in C, from the plugin's own cffi module.

    Args:
        address: of a constant ``pk_codec`` (``protokit/codec.h``).
        keepalive: whatever keeps that memory there (the module).
    """

    tier = "native"
    __slots__ = ("address", "keepalive")

    def __init__(self, address: int, keepalive: object = None) -> None:
        self.address = address
        self.keepalive = keepalive


class Protocol:
    """A wire protocol; plugins subclass it or make instances.

    Args:
        name: the entry point's name and the configuration's ``protocol:``.
        wire: what reads and writes its frames.
        description: one line for ``protokit plugins``.
    """

    def __init__(self, name: str, wire: NativeCodec, description: str = "") -> None:
        self.name = name
        self.wire = wire
        self.description = description

    @property
    def tier(self) -> str:
        """How it runs: ``native``."""
        return self.wire.tier

    def __repr__(self) -> str:
        return f"Protocol({self.name!r}, {self.tier})"
