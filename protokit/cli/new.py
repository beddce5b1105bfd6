"""``protokit new``: a plugin package whose tests pass at once, for an author to change."""

from __future__ import annotations

import importlib.metadata
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

import protokit
import protokit_proxy
from protokit.plugins import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@click.command()
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where to write it; must not exist, or be empty.  [default: protokit-NAME]",
)
def new(name: str, directory: Path | None) -> None:
    """Write a plugin package for the protocol NAME.

    It holds a declaration, an entry point, golden vectors, a README and tests, all of them working: a small
    protocol that you replace by yours.
    """
    if not _NAME.fullmatch(name):
        raise click.ClickException(
            f"{name!r} cannot name a protocol and its package: expected a lowercase letter, then lowercase"
            " letters and digits, in words joined by '-' or '_', such as 'mail' or 'acme-rpc'"
        )
    if _module(name) == protokit_proxy.__name__:
        raise click.ClickException(f"{name!r} is taken: {protokit_proxy.DISTRIBUTION} is protokit itself")
    for point in importlib.metadata.entry_points(group=GROUP, name=name):
        owner = point.dist.name if point.dist else point.value
        raise click.ClickException(
            f"protocol {name!r} is taken: {owner} is installed and brings it; choose another name"
        )
    folder = directory or Path(f"protokit-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} exists already; move it away, or choose another --directory")
    try:
        written = write(name, folder)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be written: {error}") from error
    for path in written:
        click.echo(f"  {path}")
    click.echo(
        f"\n{len(written)} files written. Next:\n\n"
        f"  cd {folder}\n"
        f"  pip install -e '.[test]'\n"
        f"  python -m pytest                # the conformance kit\n"
        f"  protokit plugins check {name}\n"
        f"  protokit check proxy.yaml\n\n"
        f"Then put your frame into {_module(name)}/__init__.py; README.md says how to go on."
    )


def write(name: str, folder: Path) -> list[Path]:
    """Write the template's files; what they are, in their order."""
    values = {
        "NAME": name,
        "MODULE": name.replace("-", "_"),
        "CLASS": "".join(word.capitalize() for word in re.split("[-_]", name)),
        "VERSION": protokit.__version__,
        "API": str(protokit.API_VERSION),
        "NEXT_API": str(protokit.API_VERSION + 1),
    }
    written = []
    for path, text in _files(resources.files("protokit.cli") / "template", Path()):
        place = folder / _named(path, values["MODULE"])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_filled(text, values), encoding="utf-8")
        written.append(place)
    return written


def _module(name: str) -> str:
    return f"protokit_{name.replace('-', '_')}"


def _named(path: Path, module: str) -> Path:
    return Path(*(part.replace("NAME", module) for part in path.with_suffix("").parts))


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], text)


def _files(folder: Traversable, path: Path) -> Iterator[tuple[Path, str]]:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _files(one, path / one.name)
        elif one.name.endswith(".in"):
            yield path / one.name, one.read_text(encoding="utf-8")
