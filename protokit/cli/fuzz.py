"""``protokit fuzz``: random and hostile bytes against a protocol, for as long as one likes."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from protokit import native
from protokit.cli import hextext
from protokit.cli.subject import kit_of, plugin_of, protocol_in
from protokit.config.scalars import Duration
from protokit.errors import ProtokitError

if TYPE_CHECKING:
    from protokit.testing.invariants import Example
    from protokit.wire import Protocol

MODES = ("multiplexed", "ordered", "pingpong")
_SHOWN = 1024  # bytes of one frame


class Time(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A duration such as 10s or 5m; seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of the text."""
        try:
            return Duration.parse(value) / 1000
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command()
@click.argument("protocol")
@click.option(
    "--time",
    "seconds",
    type=Time(),
    help="When to stop trying; finds are made small besides.  [default: 60s; with --rounds, never]",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Stop after so many rounds of 600 examples: with a seed, the same ones on any machine.",
)
@click.option("--seed", type=int, help="The same seed tries the same examples in the same order.")
@click.option(
    "--golden",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Frames to begin with: files or folders of *.jsonl; else golden beside the plugin or its tests.",
)
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    help="Where finds are saved; by default here.",
)
@click.option(
    "--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Try a saved find again."
)
def fuzz(
    protocol: str,
    seconds: float | None,
    rounds: int | None,
    seed: int | None,
    golden: tuple[Path, ...],
    folder: Path,
    replay: Path | None,
) -> None:
    """Look for bytes that a protocol gets wrong.

    PROTOCOL is the name of one that is installed, or a one-file plugin (./mail.py, of several protocols
    ./mail.py:NAME). Frames come from its declaration and from golden ones; they are spoiled, cut and joined,
    given to the codec flush against memory that cannot be read, and sent through the engine's core. What
    breaks is made small and saved.

    Exit code: 0 nothing found, 1 something found, 2 it cannot be run, or tried too little to say anything.
    """
    try:
        from protokit.testing import fuzzing, vectors_of  # noqa: PLC0415  # Hypothesis is an extra
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"{error.name} is missing; install it with: pip install 'protokit-proxy[test]'"
        ) from None
    try:
        plugin, beside = plugin_of(protocol)
        found = protocol_in(plugin, protocol)
        if replay is not None:
            sys.exit(_replayed(found, *fuzzing.replay(found, replay)))
        frames = vectors_of(kit_of(found.name, beside, golden)["golden"])
        if found.tier != "declared" and not frames:
            raise ProtokitError(
                f"protocol {found.name!r} is a codec in C: frames to begin with are needed, "
                f"and there are none in {beside / 'golden'} or its tests; name some with --golden"
            )
        seed = secrets.randbelow(2**32) if seed is None else seed
        click.echo(f"{found.name}: {len(frames)} golden frames, seed {seed}", err=True)
        result = fuzzing.fuzz(
            found,
            frames,
            seconds if seconds is not None else 60 if rounds is None else float("inf"),
            seed,
            lambda line: click.echo(line, err=True),
            folder=folder,
            rounds=rounds,
        )
    except ProtokitError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{found.name}: {result}" + (" (interrupted)" if result.interrupted else ""))
    for one in result.finds:
        click.echo(f"{one.check}: {one.why}\n  again: protokit fuzz {protocol} --replay {one.path}")
    if result.finds:
        sys.exit(1)
    if result.too_little and not result.interrupted:
        click.echo(f"Error: {result.too_little}", err=True)
        sys.exit(2)


def _replayed(protocol: Protocol, example: Example, violation: Exception | None) -> int:
    """Say what is wrong and what was tried: the mode, how peers behaved, each frame with its place."""
    click.echo("nothing is wrong with it any more" if violation is None else str(violation))
    mode = "pinned" if "pinned" in (example.how or ()) else MODES[native.mode(protocol.wire.address)]
    how = "the frames alone" if example.how is None else f"through the core: {', '.join(example.how) or '-'}"
    pieces = f"in pieces of {', '.join(map(str, example.cuts))}" if example.cuts else "at once"
    click.echo(
        f"  {mode}, {how}; {len(example.client)} bytes from the client {pieces}, "
        f"{len(example.upstream)} from the upstream"
    )
    for who, side in (("client", "client"), ("upstream", "server")):
        data = native.sent_by(side, getattr(example, who))
        at = 0
        while at < len(data):
            seen = native.frame(protocol.wire.address, data[at:])
            size = seen.size if seen.result == 0 else len(data) - at
            click.echo(f"  {who}, at byte {at}: {seen}")
            for line in hextext.dump(data[at : at + size][:_SHOWN], at):
                click.echo(f"  {line}")
            at += size
    return 0 if violation is None else 1
