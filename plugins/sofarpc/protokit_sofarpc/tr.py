"""TB Remoting (TR), which old SOFA and HSF1 speak: native, since its id sits inside a Hessian object.

::

    0    1      2       3     4   5              9              10              14
    +----+------+-------+-----+---+--------------+--------------+---------------+----------------------
    | 0D | kind | codec | way | - | connection   | class name   | application   | connection object,
    |    |      |       |     |   | length (4)   | length (1)   | length (4)    | class name, application
    +----+------+-------+-----+---+--------------+--------------+---------------+----------------------

The id (``ctx.id`` of the connection object) is a long of variable width in one of two dialects; it is read,
so that answers are matched and errors find their request, and never rewritten: each client has an upstream
connection of its own.
"""

from __future__ import annotations

import protokit_sofarpc._native as _native  # noqa: PLR0402  # what mypy takes for an export
from protokit import NativeCodec, Protocol, hookimpl

PROTOKIT_API = ">=1,<2"

tr = Protocol(
    "tr",
    NativeCodec(_native.lib.tr_codec_address(), _native),
    "TB Remoting of old SOFA and HSF1",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """The one protocol of this module."""
    return [tr]
