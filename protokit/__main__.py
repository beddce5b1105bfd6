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
    from protokit.cli import main as command  # noqa: PLC0415  # as above

    command()


if __name__ == "__main__":
    main()
