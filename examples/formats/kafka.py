"""Kafka: requests and answers are told by who sends them; no error fits all requests.

::

    request:  0      4         6             8               12               14          14+n
              +------+---------+-------------+----------------+----------------+-----------+------+
              | size | api key | api version | correlation id | client id size | client id | rest |
              +------+---------+-------------+----------------+----------------+-----------+------+
    answer:   | size | correlation id | rest |

Source: the protocol guide of Apache Kafka, "Common Request and Response Structure", and its schemas of
requests.

The service is the client's name (``client.id``), the method the API's, the version that of its schema. A
broker answers a connection's requests in turn, keeps who logged in on it, and lets a Fetch or a JoinGroup
wait: each client has connections of its own. A Produce without acknowledgements (``acks=0``) is one-way.

Limits: the answers to Metadata, FindCoordinator and DescribeCluster name the brokers' addresses, where
clients go next, and pass as they are: brokers have to advertise the proxy's (a listener for each broker),
or only what clients ask first goes through it. Each API has errors of its own, in its own place: the
connection of a client whose request cannot be answered is closed, and clients try again. An answer counts
as OK. Topics stand behind what is read.
"""

from __future__ import annotations

from construct import Bytes, If, Int16sb, Int16ub, Int32ub, Rebuild, Struct, len_, this

from protokit import Protocol, WireFormat, hookimpl
from protokit.wire import Replies, UVar, decimal, first, side, size_, table

APIS = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    16: "ListGroups",
    17: "SaslHandshake",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    22: "InitProducerId",
    36: "SaslAuthenticate",
    60: "DescribeCluster",
}
asks = side == "client"
produces = asks & (this.key == 0)
flexible = produces & (this.version >= 9)  # sizes are varints, one more than they are; 0 is null
transacts = produces & (this.version >= 3) & (this.version < 9)
FRONT = (
    len_(this.client)
    + len_(this.transaction)
    + size_(this.tags)
    + size_(this.compact_size)
    + len_(this.compact)
)
FRONT += 4 + asks * 6 + transacts * 2 + (produces & (this.tags == 0)) * 2

frame = Struct(
    "size" / Rebuild(Int32ub, FRONT + len_(this.rest)),
    "key" / If(asks, Int16ub),
    "version" / If(asks, Int16ub),
    "id" / Int32ub,
    "client_size" / If(asks, Int16sb),  # -1: none
    "client" / If(asks & (this.client_size > 0), Bytes(this.client_size)),
    # Of Produce, what stands in front of how many acknowledge it.
    "tags" / If(flexible, UVar(5)),
    "transaction_size" / If(transacts, Int16sb),
    "compact_size" / If(flexible & (this.tags == 0), UVar(5)),
    "transaction" / If(this.transaction_size > 0, Bytes(this.transaction_size)),
    "compact" / If(this.compact_size > 1, Bytes(this.compact_size - 1)),
    "acks" / If(produces & (this.tags == 0), Int16sb),
    "rest" / Bytes(this.size - FRONT),
)

kafka = Protocol(
    "kafka",
    WireFormat(
        frame,
        id=this.id,
        mode="pinned",
        response=side == "server",
        oneway=produces & (this.tags == 0) & (this.acks == 0),
        service=this.client,
        method=first(table(this.key, APIS), decimal(this.key)),
        version=decimal(this.version),
        replies=Replies(error=None),
    ),
    "Apache Kafka",
)


@hookimpl
def protokit_protocols() -> list[Protocol]:
    """One protocol."""
    return [kafka]
