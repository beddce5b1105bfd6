"""MQTT 3.1.1: a size in groups of seven bits; clients log in at their broker, through the proxy.

::

    +---------------------+------+------------------------------------------------+
    | type, dup, qos, ... | size |    size: of the rest, 1 to 4 bytes             |
    +---------------------+------+------------------------------------------------+

    PUBLISH: topic (length, 2 bytes; text), id where qos > 0, message
    SUBSCRIBE, UNSUBSCRIBE: id, topic filters        acknowledgements: id, return codes

Source: MQTT Version 3.1.1, OASIS Standard, sections 2 and 3.

What wants an acknowledgement is a request, whoever sends it: PUBLISH with a qos, SUBSCRIBE, UNSUBSCRIBE.
PUBLISH without one is one-way. The service is the topic, or the first of the filters; the method is the type.
All else (the login, pings, the second half of qos 2, DISCONNECT) goes from a client to its broker and back
whatever the routes are.

Limits: the protocol knows no errors: where the proxy has to refuse, it closes the client's connection, as
brokers do, and a one-way PUBLISH without a route is dropped. Of several filters in a packet the first
decides. MQTT 5 and 3.1 are refused at the login.
"""

from __future__ import annotations

from construct import (
    BitsInteger,
    BitStruct,
    Bytes,
    Check,
    Const,
    Flag,
    GreedyBytes,
    If,
    Int8ub,
    Int16ub,
    Prefixed,
    Rebuild,
    Struct,
    len_,
    this,
)

from protokit import Protocol, Status, WireFormat, hookimpl
from protokit.wire import Greeting, Replies, UVar, first, table

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)
FAILURE = 0x80

kind = this.head.type
publishes = kind == PUBLISH
subscribes = (kind == SUBSCRIBE) | (kind == UNSUBSCRIBE)
acknowledges = (kind == PUBACK) | (kind == PUBREC) | (kind == SUBACK) | (kind == UNSUBACK)
numbered = (
    (publishes & (this.head.qos != 0)) | subscribes | acknowledges | (kind == PUBREL) | (kind == PUBCOMP)
)
reserved = this.head.dup * 8 + this.head.qos * 2 + this.head.retain
wanted = (subscribes | (kind == PUBREL)) * 2  # the bits of all other types

head = (publishes | subscribes) * 2 + numbered * 2 + (kind == CONNECT) * 7 + (kind == SUBACK)
front = head + len_(this.topic) + len_(this.filter)  # bytes of what is there or not
frame = Struct(
    "head" / BitStruct("type" / BitsInteger(4), "dup" / Flag, "qos" / BitsInteger(2), "retain" / Flag),
    Check((kind >= CONNECT) & (kind <= DISCONNECT) & (this.head.qos != 3)),
    Check(publishes | (reserved == wanted)),
    "size" / Rebuild(UVar(4), front + len_(this.rest)),
    "version" / If(kind == CONNECT, Const(b"\0\4MQTT\4")),
    "topic" / If(publishes, Prefixed(Int16ub, GreedyBytes)),
    "id" / If(numbered, Int16ub),
    "filter" / If(subscribes, Prefixed(Int16ub, GreedyBytes)),
    "code" / If(kind == SUBACK, Int8ub),
    "rest" / Bytes(this.size - front),
)

mqtt = Protocol(
    "mqtt",
    WireFormat(
        frame,
        id=this.id,
        mode="pinned",
        response=acknowledges,
        oneway=publishes & (this.head.qos == 0),
        status=table(this.code, {FAILURE: Status.APP_ERROR}, Status.OK),
        service=first(this.topic, this.filter),
        method=table(kind, {PUBLISH: "PUBLISH", SUBSCRIBE: "SUBSCRIBE", UNSUBSCRIBE: "UNSUBSCRIBE"}),
        greeting=Greeting(when=~(publishes | subscribes | acknowledges), relayed=True),
        replies=Replies(error=None),
    ),
    "MQTT 3.1.1",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [mqtt]
