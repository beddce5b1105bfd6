"""Wrong codecs: of any protocol by a shim in C, of a declared one from its declaration and its program."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import sys
from pathlib import Path

from cffi import FFI

import protokit
from protokit import NativeCodec, Protocol, Status, WireFormat, native
from protokit.wire import views
from protokit.wire.compiler import compile_image
from protokit.wire.expressions import fields_of
from protokit.wire.format import MODES
from protokit.wire.nodes import Bits, Branch, Choice, Condition, Integer, Integers, Section, walk
from protokit.wire.program import Image
from protokit.wire.replies import TEXT_MAX

HERE = Path(__file__).parent


# Of the shim's mutants those that change nothing but what a protocol may lack.
CHANGES = {
    "oneway": {"one-way requests swallowed", "one-way requests taken for two-way ones"},
    "heartbeat": {
        "heartbeats taken for requests",
        "answers to heartbeats taken for heartbeats",
        "heartbeats without their id",
        "no heartbeat sent",
        "heartbeats that are answers to one",
        "heartbeats without an answer",
        "heartbeats answered with themselves",
        "answers to heartbeats without their id",
    },
    "drain": {"drain signals ignored"},
    "drain-sent": {"no drain signal sent", "drain signals that are heartbeats"},
}


def not_declared(meaning):
    """The shim's mutants of what a declaration does not say."""
    found = set()
    if meaning.headers is None:
        found |= {"the first header left out", "headers taken for raw values", "no header found by its key"}
    if not meaning.app_error:
        found.add("the service's own errors not seen")
    if meaning.status is None or Status.TIMEOUT not in meaning.status[1].entries.values():
        found.add("one status taken for another")
    return found


class Shim:
    """The compiled shim."""

    def __init__(self, folder):
        ffi = FFI()
        ffi.cdef(
            "int mutant_count(void); const char *mutant_name(int);"
            "uintptr_t mutant_of(uintptr_t, int); int mutant_changes(uintptr_t, int);"
        )
        ffi.set_source(
            "protokit_test_shim", (HERE / "shim.c").read_text(), include_dirs=[protokit.get_include()]
        )
        spec = importlib.util.spec_from_file_location("protokit_test_shim", ffi.compile(str(folder)))
        module = importlib.util.module_from_spec(spec)
        sys.modules["protokit_test_shim"] = module
        spec.loader.exec_module(module)
        self.lib = module.lib
        self.names = [ffi.string(self.lib.mutant_name(i)).decode() for i in range(self.lib.mutant_count())]

    def mutants(self, protocol, has):
        """(what is wrong, a protocol that is wrong so); the first is the unmutated twin.

        What a protocol has not (``has``: as the kit says) cannot be wrong: that would be the twin again.
        """
        left_out = {what for have, changed in CHANGES.items() if not has(have) for what in changed}
        if not protocol.wire.ask.reads_arguments:
            left_out.add("no argument found")
        if isinstance(protocol.wire, WireFormat):
            left_out |= not_declared(protocol.wire.meaning)
        for which, what in enumerate(self.names):
            if what not in left_out and self.lib.mutant_changes(protocol.wire.address, which):
                yield what, at(protocol, self.lib.mutant_of(protocol.wire.address, which))


def at(protocol, address):
    """The protocol with another codec in C; what is Python stays."""
    if isinstance(protocol.wire, NativeCodec):
        return Protocol(protocol.name, NativeCodec(address, protocol.wire))
    wire = copy.copy(protocol.wire)
    wire.__dict__["address"] = address
    return Protocol(protocol.name, wire)


# From the declaration.


def swapped(nodes, old, new):
    """The nodes with one of them replaced by others, wherever it stands."""
    found = []
    for node in nodes:
        if node is old:
            found += new
        elif isinstance(node, Branch):
            then, otherwise = swapped(node.then, old, new), swapped(node.otherwise, old, new)
            found.append(dataclasses.replace(node, then=then, otherwise=otherwise))
        elif isinstance(node, Choice):
            cases = tuple((value, swapped(case, old, new)) for value, case in node.cases)
            default = None if node.default is None else swapped(node.default, old, new)
            found.append(dataclasses.replace(node, cases=cases, default=default))
        else:
            found.append(node)
    return tuple(found)


def node_mutants(wire):
    """(what was done, nodes)."""
    nodes = walk(wire.nodes)
    timeout = wire.meaning.timeout
    sections = [node for node in nodes if isinstance(node, Section)]
    lengths = {path for node in sections for path in fields_of(node.length)}
    for node in nodes:
        name = ".".join(getattr(node, "path", ()))
        if isinstance(node, Integer | Integers):
            if node.width > 1:
                other = dataclasses.replace(node, little=not node.little)
                yield f"endianness of {name} flipped", swapped(wire.nodes, node, [other])
            # Nobody computes with others; a length of four bytes is over every limit where it is negative.
            if (node.width < 4 and node.path in lengths) or node.path in fields_of(timeout):
                other = dataclasses.replace(node, signed=not node.signed)
                yield f"sign of {name} flipped", swapped(wire.nodes, node, [other])
        if isinstance(node, Integer):
            pad = Section((f"pad_{name}",), 1)
            yield f"{name} shifted by a byte", swapped(wire.nodes, node, [pad, node])
        if isinstance(node, Section) and not isinstance(node.length, int):
            other = dataclasses.replace(node, length=0)
            yield f"{name} taken for empty", swapped(wire.nodes, node, [other])
        if isinstance(node, Bits):
            for path, shift, size in node.fields:
                moved = tuple(
                    (p, (s + 1) % (8 * node.width - n + 1) if p == path else s, n) for p, s, n in node.fields
                )
                if (path, shift, size) not in moved:
                    other = dataclasses.replace(node, fields=moved)
                    yield f"bits of {'.'.join(path)} shifted", swapped(wire.nodes, node, [other])
    yield from choosing_mutants(wire)


def choosing_mutants(wire):
    """(what was done, nodes): of checks, branches and choices."""
    nodes = walk(wire.nodes)
    for number, node in enumerate(node for node in nodes if isinstance(node, Condition)):
        yield f"check {number} dropped", swapped(wire.nodes, node, [])
    for number, node in enumerate(node for node in nodes if isinstance(node, Branch)):
        for word, test in (("always", 1), ("never", 0)):
            other = dataclasses.replace(node, test=test)
            yield f"branch {number} {word} taken", swapped(wire.nodes, node, [other])
    for number, node in enumerate(node for node in nodes if isinstance(node, Choice)):
        for value, _ in node.cases:
            kept = tuple(case for case in node.cases if case[0] != value)
            other = dataclasses.replace(node, cases=kept)
            yield f"case {value} of choice {number} dropped", swapped(wire.nodes, node, [other])


def meaning_mutants(wire):
    """(what was done, meaning)."""
    m = wire.meaning
    for name in ("service", "method", "version", "group", "headers"):
        if getattr(m, name) is not None:
            yield f"{name} not read", dataclasses.replace(m, **{name: None})
    for name in ("oneway", "heartbeat", "drain", "timeout"):
        if getattr(m, name) != 0:
            yield f"{name} not seen", dataclasses.replace(m, **{name: 0})
    yield "everything a response", dataclasses.replace(m, response=1)
    if m.checksums:
        yield "checksum neither checked nor written", dataclasses.replace(m, checksums=())
    if m.app_error:
        yield "application errors not seen", dataclasses.replace(m, app_error=())
    if m.status is not None:
        expression, table = m.status
        for value in table.entries:
            entries = {**table.entries, value: Status.DENIED}
            wrong = views.Table(table.value, entries, table.default)
            yield f"status {value} misread", dataclasses.replace(m, status=(expression, wrong))
        wrong = views.Table(table.value, table.entries, Status.DENIED)
        yield "unknown status misread", dataclasses.replace(m, status=(expression, wrong))
    if len(m.variants) > 1:
        yield "variants in another order", dataclasses.replace(m, variants=m.variants[::-1])
    if m.separate:
        yield "variants share a connection", dataclasses.replace(m, separate=False)
    if m.named is not None:
        other = dataclasses.replace(m.named, form="raw" if m.named.form == "hex" else "hex")
        yield "the engine's own ids in another form", dataclasses.replace(m, named=other)
    if m.keep:
        yield "nothing kept for replies", dataclasses.replace(m, keep=())


def reply_mutants(wire):
    """(what was done, replies by variant)."""
    right = [wire._variant_replies(variant) for variant in wire.variants]
    if all(0 in one for one in right):
        errors = [{**one, **{3 + status: one[0] for status in range(2, 9)}} for one in right]
        yield "errors are heartbeats", errors
        yield "answers to heartbeats are heartbeats", [{**one, 1: one[0]} for one in right]
    if len(right) > 1:
        yield "errors of the first variant for all", [right[0]] * len(right)
    for status in range(2, 9):
        other = 2 if status != 2 else 8
        changed = [{**one, 3 + status: one[3 + other]} for one in right]
        if str(changed) != str(right):
            yield f"the reply of {Status(other).name} for {Status(status).name}", changed
    for which, name in enumerate(("heartbeat", "ack", "drain")):
        if all(which in one for one in right):
            yield f"no {name}", [{key: one[key] for key in one if key != which} for one in right]
    cut = copy.deepcopy(right)
    for one in cut:
        for pieces in one.values():
            pieces[0].data = pieces[0].data[:-1]
    yield "replies a byte short", cut


def with_program(protocol, nodes=None, meaning=None, replies=None):
    """The protocol with another program behind the same declaration."""
    wire = protocol.wire
    replies = replies or [wire._variant_replies(variant) for variant in wire.variants]
    longest = max(
        sum(len(one.data) + one.width + 5 for one in reply)
        for variant in replies
        for reply in variant.values()
    )
    about = Image(
        wire.name, MODES[wire.mode], wire.reserved_ids, wire.replies.encoding, replies, longest + TEXT_MAX
    )
    program = compile_image(nodes or wire.nodes, meaning or wire.meaning, about)
    return at(protocol, native.declared(program))


def declared_mutants(protocol):
    """(what is wrong, how to make a protocol that is wrong so)."""
    yield "nothing, compiled again", lambda: with_program(protocol)
    for what, nodes in node_mutants(protocol.wire):
        yield what, lambda nodes=nodes: with_program(protocol, nodes=nodes)
    for what, meaning in meaning_mutants(protocol.wire):
        yield what, lambda meaning=meaning: with_program(protocol, meaning=meaning)
    for what, replies in reply_mutants(protocol.wire):
        yield what, lambda replies=replies: with_program(protocol, replies=replies)


# In Python: what the engine's codec does not show.


def raising(*_):
    """What no codec may let out."""
    raise KeyError("a bug")


def python_mutants(protocol):
    """(what is wrong, the protocol that is wrong so) of a declared protocol's reference."""

    def changed(what, **methods):
        wire = copy.copy(protocol.wire)
        _ = wire.address
        wire.__dict__.update(methods)
        return what, Protocol(protocol.name, wire)

    wire = protocol.wire
    wasteful = [bytearray(1)]

    def greedy(data):
        wasteful[0] = bytearray(4 << 20)
        return wire.message(data)

    def padded(values):
        return wire.build(values) + b"\0"

    yield changed("a codec in Python that lets a KeyError out", parse=raising, message=raising)
    yield changed("values of the wrong kind are a KeyError", build=raising)
    yield changed("frames built with a byte behind them", build=padded)
    yield changed("a field is not explained", explain=lambda data: wire.explain(data)[1:])
    yield changed("memory taken that nothing was sent for", message=greedy)
    yield changed(
        "heartbeats without an answer declared", replies=dataclasses.replace(wire.replies, ack=None)
    )


def is_the_reference(wire):
    """A stand-in for ``native.frame`` that asks the reference: the codec in C does not run."""

    def frame(codec, data, limit=8 << 20, size=None, side=None, *, halves=False):
        one = wire.message(data[:size])
        kind = native.KIND_RESPONSE if one.kind == "response" else native.KIND_REQUEST
        return native.Message(0, kind, one.status, one.size, 0, one.timeout_ms, 0, 0, 0, one.id)

    return frame
