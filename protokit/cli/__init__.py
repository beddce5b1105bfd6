"""The ``protokit`` command: one module a subcommand."""

from __future__ import annotations

import errno
import sys

import protokit_proxy

_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}  # what becomes of writing it


def main() -> None:
    """Run the command; first it is asked whether the package is ours.

    That is asked here, too: the script of the other project's distribution enters here where its package has
    overwritten ours.
    """
    protokit_proxy.require_ours()
    if len(sys.argv) == 3 and sys.argv[1] == "run" and not sys.argv[2].startswith("-"):
        from protokit.cli.process import run  # noqa: PLC0415  # without click, an eighth of the start

        run(sys.argv[2])
    from protokit.cli.group import group  # noqa: PLC0415  # not before it is known to be ours

    try:
        group()
    except OSError as error:
        if error.errno not in _OUTPUT or error.filename is not None:
            raise
        sys.exit(f"protokit: the output cannot be written: {error.strerror}")
