"""The ``protokit`` command: one module a subcommand."""

from __future__ import annotations

import sys

import protokit_proxy


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

    group()
