"""Installed distributions as importlib.metadata finds them: a folder for ``sys.path``, with metadata."""

from __future__ import annotations

from pathlib import Path

FILTER = """
from protokit import Filter, hookimpl
class Pass(Filter):
    async def request(self, request):
        return None
@hookimpl
def protokit_filters():
    return NAMES
"""


def filter_plugin(*names: str) -> str:
    """The source of a good plugin that brings filters of these names."""
    return FILTER.replace(
        "NAMES", "{" + ", ".join(f"{name!r}: lambda options: Pass()" for name in names) + "}"
    )


def distribution(root: Path, name: str, source: str, *entry_points: str, version: str = "1.0") -> Path:
    """Make a distribution with one module of its name and these entry points; the folder for the path."""
    folder = root / f"site-{name}"
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "\n".join(f"{point} = {name}" for point in entry_points)
    (info / "entry_points.txt").write_text(f"[protokit.plugins]\n{points}\n")
    (folder / f"{name}.py").write_text(source)
    return folder
