"""What the fuzz target needs from Python: the compiled programs, and inputs to begin with.

export.py formats HEADER            every declared protocol that is installed, and fuzz_formats.py's
export.py formats HEADER --native dubbo=pk_dubbo_codec
export.py formats HEADER --planted
export.py seeds FOLDER [NAME ...]   inputs made of golden frames, FOLDER/NAME/*
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import zlib
from pathlib import Path

import fuzz_formats
from hypothesis import HealthCheck, Phase, given, seed, settings

from protokit import Protocol, WireFormat, native, plugins
from protokit.errors import LocalProtocolError, RemoteProtocolError
from protokit.testing import frames, load_golden
from protokit.wire.encodings import FIRST, LineEncoding
from protokit.wire.nodes import Region, walk
from protokit.wire.views import leaves

HOW_ENDS, HOW_BREAKS, HOW_ANSWERS, HOW_PINNED, HOW_STRICT = 2, 8, 16, 32, 64


def tag(name: str) -> int:
    """The first byte of this protocol's inputs."""
    return zlib.crc32(name.encode()) >> 24


def installed() -> dict[str, Protocol]:
    """All protocols of the installed plugins. One that is broken ends the script."""
    registry = plugins.load()
    if registry.failures:
        sys.exit(f"export: broken plugins: {registry.failures}")
    return dict(registry.protocols)


def declared() -> dict[str, Protocol]:
    """All protocols that have a compiled program."""
    found = {name: one for name, one in installed().items() if one.tier == "declared"}
    return found | {one.name: one for one in fuzz_formats.protocols()}


def image(name: str, wire: WireFormat) -> tuple[bytes, list[str]]:
    """The compiled program with numbers in the place of addresses of steps and measures, and their names."""
    roots = wire.meaning.destination() + wire.meaning.looks()
    holders = [getattr(view, "found", getattr(view, "structure", None)) for view in leaves(roots)]
    steps = {one.step.name: one.step for one in holders if one is not None}
    regions = [node.how.measure for node in walk(wire.nodes) if isinstance(node, Region)]
    steps |= {one.name: one for one in regions}
    kept = {key: one._address for key, one in steps.items()}
    try:
        for number, one in enumerate(steps.values()):
            one._address = number
        return wire.image(name), list(steps)
    finally:
        for key, one in steps.items():
            one._address = kept[key]


def keys(wire: WireFormat) -> int:
    """Which of its headers counts by its key, as target.c has it: KEYS_*."""
    how = getattr(wire.meaning.headers, "encoding", None)
    return 0 if not isinstance(how, LineEncoding) else (how.repeated == FIRST) + 2 * how.ignore_case


def header(protocols: dict[str, WireFormat], codecs: dict[str, str]) -> str:
    """formats.h."""
    lines = [f"enum {{ FORMATS = {len(protocols) + len(codecs)} }};"]
    rows = []
    tags: dict[int, str] = {}
    for name in [*protocols, *codecs]:
        if tag(name) in tags:
            sys.exit(f"export: {name} and {tags[tag(name)]} have the same tag; take another byte of the CRC")
        tags[tag(name)] = name
    for number, (name, wire) in enumerate(protocols.items()):
        data, steps = image(name, wire)
        lines.append(f"static const uint8_t image_{number}[] = {{{','.join(map(str, data))}}};")
        texts = "".join(f'"{one}", ' for one in steps)
        lines.append(f"static const char *const steps_{number}[] = {{{texts}NULL}};")
        rows.append(
            f'{{"{name}", {tag(name)}, image_{number}, {len(data)}, steps_{number}, NULL, {keys(wire)}}}'
        )
    for name, symbol in codecs.items():
        lines.append(f"extern const pk_codec {symbol};")
        rows.append(f'{{"{name}", {tag(name)}, NULL, 0, NULL, &{symbol}, 0}}')
    lines.append(f"static const format formats[FORMATS] = {{{', '.join(rows)}}};\n")
    return "\n".join(lines)


def whole_frames(name: str, protocol: Protocol) -> list[bytes]:
    """Small golden frames; of a format that has none, frames from its declaration, the same every time."""
    golden = sorted((fuzz_formats.REPO / "tests" / "golden").glob(f"{name}*.jsonl"))
    golden += (fuzz_formats.REPO / "plugins").glob(f"*/tests/golden/{name}*.jsonl")
    found = [one.data for one in load_golden(golden)]
    if not golden and isinstance(protocol.wire, WireFormat):

        @seed(1)
        @settings(
            max_examples=150,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(frames(protocol.wire))
        def draw(frame: bytes) -> None:
            found.append(frame)

        draw()
    return sorted({one for one in found if len(one) <= 700}, key=lambda one: (len(one), one))


def inputs(name: str, protocol: Protocol) -> list[bytes]:
    """Frames alone, several in pieces, and requests with an answer."""
    codec = protocol.wire.address
    kinds: dict[int, list[bytes]] = {}
    for frame in whole_frames(name, protocol):
        kinds.setdefault(native.frame(codec, frame).kind, []).append(frame)
    asked = kinds.get(native.KIND_REQUEST, [])
    found = [one_input(name, 0, 7, frame) for some in kinds.values() for frame in some]
    for i, answer in enumerate(kinds.get(native.KIND_RESPONSE, [])):
        if asked:
            found.append(one_input(name, HOW_ANSWERS | HOW_ENDS, 30, asked[i % len(asked)], answer))
    if native.KIND_RESPONSE not in kinds:  # it is told by who sends it
        found += [
            one_input(name, HOW_ANSWERS | HOW_BREAKS, 30, asked[i - 1], frame)
            for i, frame in enumerate(asked)
        ]
    joined = b"".join(some[len(some) // 2] for some in kinds.values())
    hows = (0, HOW_ANSWERS, HOW_STRICT, HOW_PINNED)
    found += [one_input(name, how, 11, joined + b"".join(asked[:4])) for how in hows]
    for frame in asked[:1]:
        try:
            request = native.request(codec, frame)
        except RemoteProtocolError:
            continue
        if isinstance(protocol.wire, WireFormat) and protocol.wire.meaning.headers is not None:
            with contextlib.suppress(LocalProtocolError):  # this kind may have no headers
                edited = protocol.wire.edit(request.frame, [(native.EDIT_HEADER, "x-protokit", "1")])
                found.append(one_input(name, 0, 0, edited))
    return found


def program_inputs(protocols: dict[str, Protocol]) -> list[bytes]:
    """Inputs of programs.c: each format's own program, unchanged, on some of its frames."""
    return [
        bytes([tag(name), 0]) + frame
        for name, protocol in protocols.items()
        for frame in whole_frames(name, protocol)[::10]
    ]


def one_input(name: str, how: int, cut: int, client: bytes, upstream: bytes = b"") -> bytes:
    """An input of target.c."""
    return bytes([tag(name), how, cut]) + len(client).to_bytes(2, "little") + client + upstream


def write(folder: Path, found: list[bytes]) -> None:
    """A file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in found:
        (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["formats", "seeds"])
    parser.add_argument("to", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--native", action="append", default=[], metavar="NAME=SYMBOL")
    parser.add_argument("--planted", action="store_true")
    args = parser.parse_args()
    if args.what == "formats":
        codecs = dict(one.split("=") for one in args.native)
        protocols = {} if codecs else declared()
        if args.planted:
            protocols = {"planted": Protocol("planted", fuzz_formats.planted())}
        text = header({name: one.wire for name, one in protocols.items()}, codecs)
        args.to.parent.mkdir(parents=True, exist_ok=True)
        if not args.to.exists() or args.to.read_text() != text:  # else nothing is built again
            args.to.write_text(text)
        return
    for name, protocol in {**installed(), **declared()}.items():
        if args.names and name not in args.names:
            continue
        write(args.to / name, inputs(name, protocol))
    if not args.names or "programs" in args.names:
        write(args.to / "programs", program_inputs(declared()))


if __name__ == "__main__":
    main()
