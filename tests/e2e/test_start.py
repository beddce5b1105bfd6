"""How a proxy starts: it serves before it has a loop, and imports only what its configuration needs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from protokit_dubbo.messages import Event, decode

# Runs the command, and something else at the moment when asyncio is imported.
WATCH = """
import builtins, json, os, runpy, signal, socket, sys, threading

def listening():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.append(one.getsockname()[1])
        except OSError:
            pass
    return found

def told(what):
    with open(os.environ["TOLD"], "w") as file:
        json.dump(what, file)

def watch(event, arguments):
    if event == "import" and arguments[0] == "asyncio" and moment:
        exec(moment.pop(), globals())

moment = [os.environ["MOMENT"]]
builtins.listening, builtins.told = listening, told
sys.addaudithook(watch)
sys.argv[0] = "protokit"
runpy.run_module("protokit", run_name="__main__", alter_sys=True)
"""

CONFIG = """
listeners: [{{name: in, bind: "127.0.0.1:{listener}", protocol: {protocol}, cluster: c}}]
clusters: [{{name: c, endpoints: ["{endpoint}"]}}]
admin: {{bind: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 0s}}
"""


class Start:
    """One run, from its start to its end.

    Args:
        folder: for its files.
        moment: what to do when asyncio is imported; ``told`` is for here.
        options: of the command.
        config: the configuration; ``fields`` and ``more`` go into it.
        ends: it is asked to when it has said that it listens; else it does that itself.
    """

    def __init__(
        self,
        folder: Path,
        moment: str,
        *options: str,
        config: str = CONFIG,
        more: str = "",
        ends: bool = False,
        **fields: object,
    ) -> None:
        path, told = folder / "c.yaml", folder / "told.json"
        known = {"listener": 0, "admin": 0, "protocol": "dubbo", "endpoint": "127.0.0.1:9"}
        path.write_text(config.format(**(known | fields)) + more)
        errors = folder / "errors"
        with (
            errors.open("w") as log,
            subprocess.Popen(
                [sys.executable, "-c", WATCH, "run", str(path), *options],
                env=os.environ | {"MOMENT": moment, "TOLD": str(told)},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            self.out = process.stdout.readline()
            if ends:
                process.terminate()
            self.out += process.stdout.read()
        self.errors = errors.read_text()
        assert process.returncode == 0, self.errors
        self.told = json.loads(told.read_text())


ENDS = "; os.kill(os.getpid(), signal.SIGTERM)"


def modules(tmp_path, protocol: str, *options: str) -> set[str]:
    return set(Start(tmp_path, "told(list(sys.modules))" + ENDS, *options, protocol=protocol).told)


NEVER = {
    "asyncio",
    "click",
    "concurrent.futures",
    "construct",
    "ctypes",
    "difflib",
    "email",
    "encodings.idna",
    "h11",
    "hypothesis",
    "importlib.metadata",
    "protokit.admin.connection",
    "protokit.admin.server",
    "protokit.cli.check",
    "protokit.cli.decode",
    "protokit.cli.plugins",
    "protokit.config.jsonschema",
    "protokit.control.names",
    "protokit.dataplane.filters",
    "protokit.dataplane.proxy",
    "protokit.native.core",
    "protokit.testing",
    "protokit.wire.compiler",
    "protokit.wire.format",
    "protokit_hsf",
    "protokit_motan",
    "protokit_sofarpc",
    "ssl",
    "typing_extensions",
    "uvloop",
    "zipfile",
}


def test_only_what_is_needed_is_imported(tmp_path):
    found = modules(tmp_path, "dubbo")
    assert {"protokit.dataplane.workers", "protokit_dubbo", "yaml"} <= found
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


def free_ports(count: int) -> list[int]:
    """Below those that the kernel gives out, to anybody at any moment; others in each process."""
    found: list[int] = []
    for number in itertools.count(os.getpid() * 16):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", 10_000 + number % 10_000))
            found.append(one.getsockname()[1])
        if len(found) == count:
            return found
    raise AssertionError


SERVES = """
with socket.create_connection(("127.0.0.1", {listener})) as client:
    client.sendall(bytes.fromhex("{asked}"))
    answer = client.recv(100).hex()
admin = socket.create_connection(("127.0.0.1", {admin}))
admin.sendall(b"GET /ready HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")

def ready():
    with admin:
        text = b"".join(iter(lambda: admin.recv(1000), b""))
    told([answer, text.decode()])
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=ready, daemon=True).start()
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_it_serves_before_it_has_a_loop(tmp_path, workers):
    """Clients have answers, an admin's question waits, and is answered when it is true."""
    listener, admin = free_ports(2)
    asked = Event(7, b"N", request=True, twoway=True)
    moment = SERVES.format(listener=listener, admin=admin, asked=asked.encode().hex())
    run = Start(tmp_path, moment, listener=listener, admin=admin, more=f"workers: {workers}\n")
    answer, ready = run.told
    heard = decode(bytes.fromhex(answer))
    assert (heard.id, heard.request) == (7, False)
    assert ready.startswith("HTTP/1.1 200 ") and ready.endswith("\r\n\r\nready\n")
    assert f"listener  in 127.0.0.1:{listener} dubbo -> cluster c" in run.out
    assert f"admin     http://127.0.0.1:{admin}/" in run.out


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_signals_before_there_is_a_loop_wait_for_it(tmp_path, name):
    run = Start(tmp_path, f"told(listening()); os.kill(os.getpid(), signal.{name})")
    assert len(run.told) == 2
    assert f"{name}: draining" in run.errors
    assert run.errors.endswith("stopped\n")


NEEDS = """
import asyncio, os
from protokit import Filter, hookimpl

class Passes(Filter):
    async def request(self, request):
        pass

def heard():
    asyncio.get_running_loop()
    told(listening())
    return Passes()

@hookimpl
def protokit_{hook}
"""


@pytest.mark.parametrize(
    ("hook", "filters"),
    [
        ("startup(app): heard()", "[]"),
        ("filters(): return {'early': lambda options: heard()}", "[early]"),
    ],
    ids=["startup", "filter"],
)
def test_what_needs_a_loop_has_one_before_anybody_is_served(tmp_path, hook, filters):
    (tmp_path / "needs.py").write_text(NEEDS.format(hook=hook))
    protocol = f"dubbo, filters: {filters}"
    more = "plugins: [./needs.py]\n"
    run = Start(tmp_path, "pass", protocol=protocol, more=more, ends=True)
    assert len(run.told) == 1  # the admin server
    assert "stopped" in run.errors


@pytest.mark.parametrize("name", ["listener", "endpoint", "admin"])
def test_names_are_looked_up_in_a_loop_before_anybody_is_served(tmp_path, name):
    text = CONFIG.replace("127.0.0.1:{" + name, "localhost:{" + name).replace("{endpoint}", "localhost:9")
    run = Start(tmp_path, "told(listening())", config=text, ends=True)
    assert run.told == []
    assert "stopped" in run.errors


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
