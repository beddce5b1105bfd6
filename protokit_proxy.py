"""The command's way in, outside the package ``protokit``.

PyPI's distribution ``protokit`` is another project's, whose package has the same name. Installed into the
same environment it overwrites files of ours, taken out again it takes them with it, and elsewhere on the path
it may stand in front. This module has a name of its own, imports nothing of ours, and says so.
"""

from __future__ import annotations

import importlib
import sys

DISTRIBUTION = "protokit-proxy"


def require_ours() -> None:
    """End the program, with what to do, where ``import protokit`` gives another project's package."""
    found: object = None
    why = ""
    try:
        found = importlib.import_module("protokit")
    except Exception as error:  # noqa: BLE001  # it may be anybody's code
        why = f" ({type(error).__name__}: {error})"
    if getattr(found, "__distribution__", None) == DISTRIBUTION:
        return
    place = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", ["nowhere"])))
    sys.exit(
        f"protokit: this is the command of {DISTRIBUTION}, but `import protokit` gives another project's"
        f" package, or what it left of ours: {place}{why}\n"
        "PyPI's distribution protokit has a package of the same name: one environment cannot hold both. Take"
        " it out, and put back what it overwrote:\n"
        "  pip uninstall -y protokit\n"
        f"  pip install --force-reinstall --no-deps {DISTRIBUTION}    # from a clone: . in its place"
    )


def main() -> None:
    """The ``protokit`` command."""
    require_ours()
    from protokit.__main__ import main as command  # noqa: PLC0415  # not before it is known to be ours

    command()
