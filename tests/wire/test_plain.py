"""Public protocols, declared as their specifications read: what cannot be is refused with the field."""

from __future__ import annotations

import pytest
from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Flag,
    GreedyBytes,
    If,
    Int8ub,
    Int16sb,
    Int16ub,
    Int24ub,
    Int32ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)
from fewer import many
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Runner

from protokit import native
from protokit.errors import DeclarationError, RemoteProtocolError
from protokit.testing import frames, spoiled
from protokit.wire import ErrorText, Replies, UVar, WireFormat, first, text
from protokit.wire.format import KINDS

# RFC 5531, over TCP with its record mark.
ONC_RPC = Struct(
    "mark" / Rebuild(Int32ub, lambda call: 0x80000000 | (len(call.rest) + (24 if call.kind == 0 else 8))),
    "xid" / Int32ub,
    "kind" / Int32ub,
    "call"
    / If(this.kind == 0, Struct("rpcvers" / Int32ub, "prog" / Int32ub, "vers" / Int32ub, "proc" / Int32ub)),
    "rest" / Bytes((this.mark & 0x7FFFFFFF) - 8 - 16 * (this.kind == 0)),
)
# RFC 6733.
DIAMETER = Struct(
    "version" / Int8ub,
    Check(this.version == 1),
    "length" / Rebuild(Int24ub, len_(this.avps) + 20),
    "flags"
    / BitStruct(
        "request" / Flag, "proxiable" / Flag, "error" / Flag, "again" / Flag, "rest" / BitsInteger(4)
    ),
    "code" / Int24ub,
    "application" / Int32ub,
    "hop" / Int32ub,
    "end" / Int32ub,
    "avps" / Bytes(this.length - 20),
)
# Cassandra's native protocol, version 4.
CQL = Struct(
    "version" / Int8ub,
    "flags" / Int8ub,
    "stream" / Int16sb,
    "op" / Int8ub,
    "length" / Rebuild(Int32ub, len_(this.body)),
    "body" / Bytes(this.length),
)
# MQTT 3.1.1, the packets of a client that publishes and subscribes.
MQTT = Struct(
    "head" / BitStruct("type" / BitsInteger(4), "dup" / Flag, "qos" / BitsInteger(2), "retain" / Flag),
    "length" / UVar(4),
    "name" / If(this.head.type == 1, Prefixed(Int16ub, GreedyBytes)),
    "level" / If(this.head.type == 1, Struct("version" / Int8ub, "flags" / Int8ub, "keepalive" / Int16ub)),
    "client" / If(this.head.type == 1, Prefixed(Int16ub, GreedyBytes)),
    "tlen" / If(this.head.type == 3, Rebuild(Int16ub, len_(this.topic))),
    "topic" / If(this.head.type == 3, Bytes(this.tlen)),
    "id" / If((this.head.type > 3) | (this.head.qos > 0), Int16ub),
    "payload" / If(this.head.type == 3, Bytes(this.length - this.tlen - 2 - 2 * (this.head.qos > 0))),
    "filter" / If(this.head.type == 8, Prefixed(Int16ub, GreedyBytes)),
    "asked" / If(this.head.type == 8, Int8ub),
    "code"
    / If((this.head.type == 9) | (this.head.type == 2), Bytes(this.length - 2 * (this.head.type == 9))),
)


def onc_rpc(**meaning):
    answer = {"kind": 1, "mark": 0x80000000 | 16, "rest": b"\0" * 8}
    return WireFormat(
        ONC_RPC,
        id=this.xid,
        response=this.kind == 1,
        replies=Replies(error=lambda status, variant: answer),
        **meaning,
    )


def diameter(**meaning):
    flags = {"request": 0, "proxiable": 0, "error": 1, "again": 0, "rest": 0}
    answer = {"version": 1, "flags": flags, "code": 0, "application": 0, "end": 0, "avps": b""}
    return WireFormat(
        DIAMETER,
        id=this.hop,
        response=this.flags.request == 0,
        replies=Replies(error=lambda status, variant: answer),
        **meaning,
    )


def cql(**meaning):
    return WireFormat(
        CQL,
        id=this.stream,
        response=(this.version & 0x80) != 0,
        replies=Replies(
            error=lambda status, variant: {
                "version": 0x84,
                "flags": 0,
                "op": 0,
                "body": ErrorText(before=b"\0\0\0\0", count=Int16ub),
            }
        ),
        **meaning,
    )


def mqtt(**meaning):
    flags = {"dup": 0, "qos": 0, "retain": 0}
    return WireFormat(
        MQTT,
        id=this.id,
        response=(this.head.type == 4) | (this.head.type == 9),
        oneway=(this.head.type == 3) & (this.head.qos == 0),
        replies=Replies(
            error=lambda status, variant: {"head": {"type": 9, **flags}, "length": 3, "code": b"\x80"}
        ),
        **meaning,
    )


@pytest.mark.parametrize(
    ("make", "meaning", "field"),
    [
        (onc_rpc, {"service": this.call.prog}, r"service: this\.call\.prog is an integer \(4 bytes\)"),
        (onc_rpc, {"service": text(this.call.prog), "method": this.call.proc}, r"service: this\.call\.prog"),
        (onc_rpc, {"version": this.call.vers}, r"version: this\.call\.vers is an integer"),
        (diameter, {"service": text(this.application)}, r"service: this\.application is an integer"),
        (diameter, {"method": this.code}, r"method: this\.code is an integer \(3 bytes\)"),
        (diameter, {"group": this.flags.proxiable}, r"group: this\.flags\.proxiable is a bit field"),
        (
            cql,
            {"service": text(this.op)},
            r"service: this\.op is an integer \(1 bytes\).* declare it as Bytes",
        ),
        (
            mqtt,
            {"service": first(this.topic, this.level.keepalive)},
            r"service: this\.level\.keepalive is an",
        ),
        (mqtt, {"method": this.head.type}, r"method: this\.head\.type is a bit field"),
    ],
)
def test_a_view_over_a_number_is_refused_with_the_field(make, meaning, field):
    with pytest.raises(DeclarationError, match=field):
        make(**meaning)


RIGHT = {
    "onc rpc": lambda: onc_rpc(service=this.rest),
    "diameter": lambda: diameter(service=this.avps, timeout=this.code),
    "cql": lambda: cql(service=text(this.body)),
    "mqtt": lambda: mqtt(
        service=first(this.topic, this.filter, this.client), method=this.client, version=this.code
    ),
}
CONNECT = bytes.fromhex("1010 00044d515454 0402003c 000461646131")
PUBLISH = b"\x30\x0c\x00\x0a0123456789"
SUBSCRIBE = b"\x82\x06\x00\x07\x00\x01a\x00"


@pytest.mark.parametrize("name", RIGHT)
@settings(max_examples=many(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_is_read_as_the_reference_reads_it(name, data):
    wire, runner = RIGHT[name](), Runner(1 << 16)
    for frame in (data.draw(frames(wire)), data.draw(spoiled(frames(wire)))):
        if not frame:
            continue
        seen = runner.run(wire.address, frame)
        try:
            message = wire.message(frame)
        except (EOFError, RemoteProtocolError):
            assert seen.result != 0
            continue
        assert (seen.result, seen.size, seen.id, KINDS[seen.kind]) == (
            0,
            message.size,
            message.id,
            message.kind,
        )
        if message.kind in {"request", "oneway"}:
            request = native.request(wire.address, frame[: message.size])
            assert (request.service, request.method, request.version, request.timeout_ms) == (
                message.service,
                message.method,
                message.version,
                message.timeout_ms,
            )


def test_packets_of_mqtt_go_by_what_they_have():
    wire = RIGHT["mqtt"]()
    for frame, service, method in (
        (CONNECT, "ada1", "ada1"),
        (PUBLISH, "0123456789", ""),
        (SUBSCRIBE, "a", ""),
    ) * 2:
        request = native.request(wire.address, frame)
        assert (request.service, request.method) == (service, method)
        assert native.frame(wire.address, frame).size == len(frame)
        changed = native.patch_id(wire.address, frame, 0x1234)
        assert changed == (frame if frame is not SUBSCRIBE else b"\x82\x06\x12\x34" + frame[4:])
