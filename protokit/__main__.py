"""``python -m protokit``, and the command ``protokit``."""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"]:  # before the imports, which take their time: see protokit.cli.process
        gc.disable()  # imports make much and drop little; protokit.cli.process switches it on again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
        _import_msgspec()
    from protokit.cli import main as command  # noqa: PLC0415  # as above

    command()


def _import_msgspec() -> None:
    """Without typing_extensions, of which it takes what typing has, too, nor ``platform``'s expressions."""
    from protokit import late  # noqa: PLC0415  # see main

    if "typing_extensions" not in sys.modules:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # as Python says: not there
        with late.expressions():
            import msgspec  # noqa: F401, PLC0415  # see main

        del sys.modules["typing_extensions"]


if __name__ == "__main__":
    main()
