"""A process that finds this on its path, and each that it starts, takes one compiled module from elsewhere.

``INSTEAD`` says which: its name, ``=``, and the file.
"""

import importlib.util
import os
import sys


def instead(said: str) -> None:
    """Takes that module from that file."""
    wanted, _, file = said.partition("=")

    class Instead:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return importlib.util.spec_from_file_location(name, file) if name == wanted else None

    sys.meta_path.insert(0, Instead)


if "INSTEAD" in os.environ:
    instead(os.environ["INSTEAD"])
