"""A one-file plugin: Thrift for servers that answer by sequence id, as the echo server here."""

from protokit_thrift import binary

from protokit import Protocol, hookimpl


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one."""
    return [binary("thrift-by-id", mode="multiplexed")]
