"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One wrong change.

    Attributes:
        name: what is wrong.
        file: its name, somewhere below native/src, or plugins/*/native: a source, or a header.
        right: what stands there, exactly once.
        wrong: what stands there instead.
        killer: the test that fails with it, as pytest names it.
        module: what it is a part of: the engine, or a plugin's name.
    """

    name: str
    file: str
    right: str
    wrong: str
    killer: str
    module: str = "engine"
