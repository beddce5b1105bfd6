"""What a starting proxy imports: nothing that its configuration does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLUGIN = """
import sys
import protokit

@protokit.hookimpl
def protokit_startup(app):
    print(*sys.modules, flush=True)
"""

CONFIG = """
listeners: [{{name: in, bind: "127.0.0.1:0", protocol: {protocol}, cluster: c}}]
clusters: [{{name: c, endpoints: ["127.0.0.1:9"]}}]
admin: {{bind: "127.0.0.1:0"}}
plugins: [./shows.py]
"""


def modules(tmp_path, protocol: str, *options: str) -> set[str]:
    (tmp_path / "shows.py").write_text(PLUGIN)
    (tmp_path / "c.yaml").write_text(CONFIG.format(protocol=protocol))
    command = [sys.executable, "-m", "protokit", "run", str(tmp_path / "c.yaml"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            return set(process.stdout.readline().split())
        finally:
            process.terminate()


NEVER = {
    "click",
    "construct",
    "ctypes",
    "difflib",
    "email",
    "encodings.idna",
    "h11",
    "hypothesis",
    "importlib.metadata",
    "protokit.admin.connection",
    "protokit.cli.check",
    "protokit.cli.decode",
    "protokit.cli.plugins",
    "protokit.config.jsonschema",
    "protokit.testing",
    "protokit.wire.compiler",
    "protokit.wire.format",
    "protokit_hsf",
    "protokit_motan",
    "protokit_sofarpc",
    "typing_extensions",
    "zipfile",
}


def test_only_what_is_needed_is_imported(tmp_path):
    found = modules(tmp_path, "dubbo")
    assert {"protokit.dataplane.proxy", "protokit_dubbo", "yaml", "uvloop"} <= found
    assert found & NEVER == set()
    assert len([name for name in found if name.startswith("protokit")]) < 45


@pytest.mark.parametrize("protocol", ["bolt", "[dubbo, bolt]"])
def test_a_declared_protocol_brings_what_declarations_need(tmp_path, protocol):
    found = modules(tmp_path, protocol)
    assert {"construct", "protokit.wire.format", "protokit_sofarpc"} <= found
    assert found & NEVER <= {
        "construct",
        "ctypes",
        "difflib",  # construct's own
        "protokit.wire.compiler",
        "protokit.wire.format",
        "protokit_sofarpc",
    }


def test_options_are_read_by_click(tmp_path):
    found = modules(tmp_path, "dubbo", "--log-level", "error")
    assert {"click", "protokit.cli.process"} <= found


YAML = """
import re
from protokit.config.pyyaml import yaml
import yaml.constructor, yaml.reader

kinds = [type(one) for one in (re.compile("a"), yaml.reader.Reader.NON_PRINTABLE)]
assert kinds[0] is re.Pattern and kinds[1] is not re.Pattern, kinds
text = "{a: 2001-12-14, b: 0x1F, c: 1.5, d: on, e: é}"
assert yaml.load(text, yaml.SafeLoader) == yaml.load(text, yaml.CSafeLoader)
try:
    yaml.load("a\\x01", yaml.SafeLoader)
except yaml.reader.ReaderError:
    print("right")
"""


def test_expressions_of_pyyaml_are_compiled_when_somebody_uses_them():
    done = subprocess.run([sys.executable, "-c", YAML], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("right\n", "")
