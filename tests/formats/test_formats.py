"""Every file in examples/formats is what its table says: a plugin that loads, frames, routes and refuses.

Of each the conformance kit runs on frames of a real library; then its requests go by service and method
through a proxy that was configured with the file, to a server that answers with recorded answers.
"""

from __future__ import annotations

import contextlib
import functools
import re
from pathlib import Path

import fewer
import pytest

import protokit
from protokit import Status, plugins
from protokit import config as configuration
from protokit.cli.subject import kit_of
from protokit.testing import conformance, streams
from protokit.testing.greeting import greet
from protokit.testing.proxied import Client, Server

FOLDER = Path(__file__).parents[2] / "examples" / "formats"
FILES = sorted(path for path in FOLDER.glob("*.py") if not path.stem.endswith("_kit"))
EXAMPLES = 20  # random frames of each check; what is finite and small is gone through in any case


@functools.cache
def loaded(name):
    """The protocol of a file, as the configuration's ``plugins`` loads it, and its kit."""
    (plugin,) = plugins.load([], [FOLDER / f"{name}.py"]).plugins
    assert not plugin.failure, plugin.failure
    (protocol,) = plugin.protocols.values()
    return protocol, conformance(protocol, **{"examples": EXAMPLES, **kit_of(protocol.name, FOLDER)})


FORMATS = [path.stem for path in FILES]
if fewer.slow:
    globals().update({f"Test_{name}": pytest.mark.slow(loaded(name)[1]) for name in FORMATS})
each = pytest.mark.parametrize("name", FORMATS)


@each
def test_a_file_is_named_after_its_protocol_and_has_vectors_of_a_real_library(name):
    protocol, kit = loaded(name)
    assert protocol.name.replace("-", "_") == name
    assert {Path(file).name for file in kit_of(protocol.name, FOLDER)["golden"]} == {f"{protocol.name}.jsonl"}
    for one in kit.vectors:
        assert re.search(r"\d+\.\d+", one.source), f"{one.name}: which library, and which version?"
        assert one.expect, f"{one.name}: nothing is expected"


def test_the_table_has_every_file():
    """Its first column is the protocol, its second the file, its third the first line of the file."""
    text = (FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| \[(\w+)\.py\]\((\w+)\.py\) \| ([^|]+) \|", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == sorted(FORMATS)
    for name, link, shows in rows:
        first = (FOLDER / f"{name}.py").read_text().split("\n", 1)[0]
        assert link == name
        assert first.removeprefix("r").strip('"') == shows.strip(), f"{name}: the table's third column"


@each
def test_requests_are_routed_and_answered_and_without_a_route_refused(name, tmp_path):
    protocol, kit = loaded(name)
    streams.run(routed(protocol, kit(), tmp_path))


class Recorded(Server):
    """Answers with what was recorded to that request: ``facts`` say ``"answers": NAME of the request``."""

    def __init__(self, suite):
        super().__init__(suite)
        asked = {one.name: self.place(one.data) for one in suite.vectors}
        recorded = [one for one in suite.whole("response") if one.facts.get("answers")]
        self.recorded = {asked[one.facts["answers"]]: one.data for one in recorded}

    def place(self, frame):
        with contextlib.suppress(protokit.ProtokitError):
            request = self.voice.codec.ask.request(frame)
            return request.service, request.method
        return None

    def answer(self, heard, frame):
        recorded = self.recorded.get(self.place(frame))
        return super().answer(heard, frame) if recorded is None else self.voice.with_id(recorded, heard.id)


async def routed(protocol, suite, tmp_path):
    requests = {Recorded.place(Server(suite), frame): frame for frame in suite.requests()}
    here, elsewhere = Recorded(suite), Recorded(suite)
    (service, method), *others = requests
    theirs = "here" if protocol.relays_greetings else "elsewhere"  # who greets its server has but one cluster
    config = {
        "plugins": [str(FOLDER / f"{protocol.name.replace('-', '_')}.py")],
        "listeners": [
            {"name": name, "bind": "127.0.0.1:0", "protocol": protocol.name, "routes": name}
            for name in ("routed", "nowhere")
        ],
        "routes": [
            {
                "name": "routed",
                "rules": [
                    {"match": {"service": service, "method": method}, "cluster": "here"},
                    *(
                        {"match": {"service": service, "method": method}, "cluster": theirs}
                        for service, method in others
                    ),
                ],
            },
            {"name": "nowhere", "rules": [{"match": {"service": "none.such"}, "cluster": "elsewhere"}]},
        ],
        "clusters": [],
        "drain": {"delay": "0s", "timeout": "5s"},
    }
    async with contextlib.AsyncExitStack() as stack:
        for where, server in (("here", here), ("elsewhere", elsewhere)):
            listening = await streams.start_server(server.serve, "127.0.0.1", 0)
            stack.callback(listening.close)
            port = listening.sockets[0].getsockname()[1]
            config["clusters"].append({"name": where, "endpoints": [f"127.0.0.1:{port}"]})
        proxy = await stack.enter_async_context(protokit.Proxy(configuration.load(config)))
        for place, frame in requests.items():
            client = await connected(stack, suite, proxy, "routed")
            await client.send(frame)
            heard, answer = await client.one(f"an answer to {place}")
            asked = suite.voice.hear(frame)
            assert answer == here.answer(asked, frame), f"another answer to {place}"
            assert heard.id == asked.id
        by_cluster = [len(requests), 0] if theirs == "here" else [1, len(others)]
        assert [len(here.heard), len(elsewhere.heard)] == by_cluster, "by service and method"
        for place, frame in requests.items():
            client = await connected(stack, suite, proxy, "nowhere")
            await client.send(frame)
            if not suite.has("errors"):
                await client.closed(f"the connection of {place}")
                continue
            heard, _ = await client.one(f"the error for {place}")
            assert heard.kind == "response"
            assert heard.id == suite.voice.hear(frame).id
            assert heard.status > Status.APP_ERROR
    assert not here.errors + elsewhere.errors


async def connected(stack, suite, proxy, listener):
    reader, writer = await streams.open_connection("127.0.0.1", proxy.addresses[listener][1])
    stack.callback(writer.close)
    client = Client(suite.voice, reader, writer)
    client.rest = await greet(suite.codec.address, "client", reader, writer)
    return client
