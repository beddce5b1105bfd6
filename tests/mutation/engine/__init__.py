"""Small wrong changes to the C code, each with the test that kills it.

A change is a place in a file and what stands there instead. Where a place has moved, the mutant
moves with it: a mutant that cannot be made is an error, not a pass. Each file beside this one has
a list, of all mutants of some C files.
"""

from __future__ import annotations

import importlib
import pkgutil

from engine.mutant import Mutant

__all__ = ["LISTS", "MUTANTS", "Mutant"]

NAMES = [one.name for one in pkgutil.iter_modules(__path__) if one.name != "mutant"]
LISTS: dict[str, tuple[Mutant, ...]] = {
    name: importlib.import_module(f"engine.{name}").MUTANTS for name in NAMES
}
MUTANTS = tuple(one for mutants in LISTS.values() for one in mutants)
