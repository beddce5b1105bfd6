"""The documents do what they say: the tutorial is run, word for word."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cffi import FFI

import protokit
from protokit import config, native
from protokit.errors import RemoteProtocolError
from protokit.testing import conformance
from protokit.testing.golden import KNOWN
from protokit.testing.kit import CAPABILITIES

REPO = Path(__file__).parents[1]
FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


WHOLE = [
    pytest.param(block, id=f"{page.stem}:{text[: text.index(block)].count(chr(10)) + 1}")
    for page in sorted((REPO / "docs").glob("*.md"))
    if page.stem != "tutorial"  # whose files stand beside its own
    for text in [page.read_text()]
    for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if "listeners:" in block and "clusters:" in block
]
ANY_FILTER = """
from protokit import Filter, hookimpl

class Any(Filter):
    async def request(self, request): ...

@hookimpl
def protokit_filters():
    return dict.fromkeys(("audit", "limit"), lambda options: Any())
"""


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_configuration_is_right(text, tmp_path):
    """Whoever begins copies one."""
    (tmp_path / "my_filter.py").write_text(ANY_FILTER)
    (tmp_path / "proxy.yaml").write_text(text)
    assert config.load(tmp_path / "proxy.yaml").warnings == []


def free_ports(text: str) -> str:
    """The tutorial's fixed ports, moved so that two runs do not meet."""
    shift = 10_000 + os.getpid() % 20_000  # below those that the kernel gives to clients
    return re.sub(r"\b700([12])\b", lambda match: str(shift + int(match[1])), text)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_tutorial_is_run(tmp_path):
    text = free_ports((REPO / "docs" / "tutorial.md").read_text())
    files = FILE.findall(text)
    assert [name for name, _ in files] == [
        "mail.py",
        "golden/mail.jsonl",
        "test_mail.py",
        "proxy.yaml",
        "call.py",
    ]
    for name, content in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert len(text.splitlines()) < 200
    assert len(dict(files)["mail.py"].splitlines()) <= 60
    assert len(CONSOLE.findall(text)) == 3
    consoles_are_run(text, tmp_path)


@pytest.mark.slow  # the tutorial runs the same commands
@pytest.mark.timeout(300)
def test_the_way_from_a_capture_is_run(tmp_path):
    text = (REPO / "docs" / "from-a-capture.md").read_text()
    assert len(text.splitlines()) < 200
    shutil.copy(REPO / "docs" / "calculator.pcap", tmp_path)
    (tmp_path / "golden").mkdir()
    for name, content in FILE.findall(text):
        (tmp_path / name).write_text(content)
    assert len(CONSOLE.findall(text)) == 4
    consoles_are_run(text, tmp_path)
    # What the page says of a missing stop byte.
    source = (tmp_path / "framed.py").read_text()
    assert ' + b"\\0"\n' in source
    (tmp_path / "framed.py").write_text(source.replace(' + b"\\0"\n', "\n"))
    done = ran("python -m pytest -q test_framed.py -k captured", tmp_path)
    failed = re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    assert failed == ["test_captured_errors_are_what_the_codec_says"], done.stdout
    assert "at byte 3: 3c captured, 3b built; at byte 63: 00 captured, nothing built" in done.stdout


def ran(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", words[0]]
    words, _, into = (words, "", "") if ">" not in words else (words[:-2], ">", words[-1])
    done = subprocess.run(
        [*start, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    if into:
        (folder / into).write_text(done.stdout)
    return done


def consoles_are_run(text: str, folder: Path) -> None:
    for console in CONSOLE.findall(text):
        command, *expected = console.strip().splitlines()
        done = ran(command.removeprefix("$ "), folder)
        assert done.returncode == 0, done.stdout + done.stderr
        for line in expected:
            assert line in done.stdout + done.stderr, command


def test_all_that_the_kit_is_given_stands_in_the_documents():
    text = (REPO / "docs" / "plugins.md").read_text()
    given = [name for name in inspect.signature(conformance).parameters if name != "protocol"]
    assert [name for name in given if f"| `{name}` |" not in text] == []
    assert [name for name in CAPABILITIES if f"`{name}`" not in text] == []
    assert [name for name in KNOWN if f"`{name}`" not in text] == []


def example_in_c(function: str, tmp_path: Path) -> int:
    """The address of a function that docs/wire-formats.md shows."""
    text = (REPO / "docs" / "wire-formats.md").read_text()
    shown = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (source,) = [one for one in shown if f"int {function}(" in one]
    ffi = FFI()
    ffi.cdef("uintptr_t address(void);")
    ffi.set_source(
        f"{function}_shown",
        f"#include <protokit/codec.h>\n{source}\n"
        f"static uintptr_t address(void) {{ return (uintptr_t)&{function}; }}",
        include_dirs=[protokit.get_include()],
    )
    sys.path.insert(0, str(tmp_path))
    try:
        ffi.compile(str(tmp_path))
        return int(importlib.import_module(f"{function}_shown").lib.address())
    finally:
        sys.path.remove(str(tmp_path))


def test_the_example_of_a_measure_measures(tmp_path):
    address = example_in_c("until_zero", tmp_path)
    for sizes in ([3], [1, 2, 3], [5]):
        assert native.run_measure(address, b"ab\0c\0", sizes) == (0, 3)
    assert native.run_measure(address, b"ab", [1, 2]) == (1, 3)


def test_the_example_of_a_step_compiles_and_agrees_with_its_reference(tmp_path):
    address = example_in_c("first_two", tmp_path)
    assert native.run_step(address, b"\x0a\x03a.B\x12\x02go", (), 2) == [b"a.B", b"go"]
    assert native.run_step(address, b"\x12\x02go", (), 2) == [None, b"go"]
    for wrong in (b"\x0a\x05a", b"\x08\x01"):
        with pytest.raises(RemoteProtocolError):
            native.run_step(address, wrong, (), 2)


def test_the_reference_of_codecs_has_every_field_function_and_result():
    header = (Path(protokit.get_include()) / "protokit" / "codec.h").read_text()
    text = (REPO / "docs" / "native-codecs.md").read_text()
    (codec,) = re.findall(r"^struct pk_codec \{\n(.*?)^\};", header, re.MULTILINE | re.DOTALL)
    codec = re.sub(r"/\*.*?\*/", "", codec, flags=re.DOTALL)
    functions = re.findall(r"\(\*(\w+)\)", codec)
    assert re.findall(r"^### `(\w+)`$", text, re.MULTILINE) == functions
    fields = re.findall(r"(\w+)(?:\[\d\])?[;,]", re.sub(r"\(\*\w+\)\(.*?\);", "", codec, flags=re.DOTALL))
    frame = re.findall(r"^typedef struct pk_frame \{\n(.*?)^\}", header, re.MULTILINE | re.DOTALL)[0]
    fields += set(re.findall(r"^  uint\d+_t (\w+)", frame, re.MULTILINE)) - {"unused"}
    assert len(fields) > 20
    assert [field for field in fields if f"`{field}`" not in text] == []
    results = re.findall(r"^  (PK_(?:OK|MORE|ERR_\w+)) = (-?\d)", header, re.MULTILINE)
    assert len(results) == 7
    assert [one for one in results if f"| `{one[0]}` | {one[1]} |" not in text] == []


def test_what_the_codec_page_shows_of_the_example_stands_there():
    """Each piece of C in these sections is the example's."""
    text = (REPO / "docs" / "native-codecs.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    places = {
        "examples/native-plugin/native/tag.c": ("Headers by their keys", "Headers of", "Arguments"),
        "tests/toy/lines.c": (
            "`pk_codec`",
            "Framing that",
            "The peer's end",
            "The last message",
            "Pieces and",
        ),
    }
    for path, begins in places.items():
        blocks = [one for one in sections if one.startswith(begins)]
        shown = [re.findall(r"^```c\n(.*?)^```", one, re.MULTILINE | re.DOTALL) for one in blocks]
        source = " ".join((REPO / path).read_text().split())
        assert len(shown) == len(begins)
        for code in shown:
            assert code
            assert [one for one in code if " ".join(one.split()) not in source] == []
