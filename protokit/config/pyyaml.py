"""PyYAML without the expressions of its readers in Python, which libyaml does not need.

One of them is over all of Unicode. Where it is imported already nothing is to be saved.
"""

from __future__ import annotations

from protokit import late

with late.expressions():
    import yaml

__all__ = ["yaml"]
