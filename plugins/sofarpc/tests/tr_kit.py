"""What the conformance kit is given for TR: made frames, captured objects, hostile ones."""

from __future__ import annotations

import tr_reference as ref
from hypothesis import strategies as st
from tr_reference import DRAFT, HESSIAN1, connection_request, connection_response, frame, sofa_request, text

from protokit.testing import Golden

SERVICE = "com.example.Echo:1.0"
HEARTBEAT = f"{ref.REMOTING}ConnectionHeartBeat"
FAILED = {"status": "INTERNAL", "text": None}  # a server's says more than a proxy's
MADE = "made from the layout of captures by plugins/sofarpc/tests/tr_reference.py"

# Connection objects as they stand in captures of sofa-bolt-go's tests (Apache-2.0): codec, id, bytes.
CAPTURED = [
    (
        HESSIAN1,
        0x41FB96,
        (
            "4d74002a636f6d2e74616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e526571756573745300"
            "036374784d740039636f6d2e74616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e5265717565"
            "73742452657175657374436f6e7465787453000269644c000000000041fb9653000674686973243052000000007a7a"
        ),
    ),
    (
        DRAFT,
        0x356,
        (
            "4fba636f6d2e74616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e5265717565737491036374"
            "786f904fc839636f6d2e74616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e52657175657374"
            "2452657175657374436f6e7465787492026964067468697324306f91fb564a00"
        ),
    ),
    (
        DRAFT,
        1,
        (
            "4fbb636f6d2e74616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e526573706f6e7365950468"
            "6f737406726573756c74086572726f724d73670a6572726f72537461636b036374786f904e904e4e4fc83b636f6d2e74"
            "616f62616f2e72656d6f74696e672e696d706c2e436f6e6e656374696f6e526573706f6e736524526573706f6e736543"
            "6f6e7465787492026964067468697324306f91e14a00"
        ),
    ),
]


def ask(request_id=1, codec=HESSIAN1, service=SERVICE, way=2):
    request = sofa_request(codec, service, "say", text("Ada"))
    return frame(codec, connection_request(codec, request_id), ref.SOFA, request, way=way)


def answer(request_id=1, codec=HESSIAN1, result=0, error=None):
    connection = connection_response(codec, request_id, result, error)
    return frame(codec, connection, "java.lang.String", text("hello"), kind=1, way=0)


def beat(request_id, codec=HESSIAN1):
    body = ref.as_map(HEARTBEAT, {"clientUrl": text("127.0.0.1:12200")})
    return frame(codec, connection_request(codec, request_id), HEARTBEAT, body)


def golden():
    means = {"service": "com.example.Echo", "version": "1.0", "method": "say"}
    for codec in (HESSIAN1, DRAFT):
        for request_id in (1, 15, 2548, 2**31 + 7, 2**63 - 1):
            expect = {"kind": "request", "request_id": str(request_id), **means}
            yield Golden(
                f"request, codec {codec}, {request_id}", ask(request_id, codec), MADE, "made", expect
            )
        yield Golden(
            "unique id", ask(3, codec, f"{SERVICE}:u1"), MADE, "made", {"group": "u1", "version": "1.0"}
        )
        yield Golden(
            "one-way", ask(4, codec, way=1), MADE, "made", {"kind": "oneway", "request_id": "4", **means}
        )
        yield Golden(
            "heartbeat, a request", beat(5, codec), MADE, "made", {"request_id": "5", "kind": "request"}
        )
        yield Golden("answer", answer(6, codec), MADE, "made", {"kind": "response", "request_id": "6"})
        yield Golden(
            "failed",
            answer(7, codec, 3, "no"),
            MADE,
            "made",
            {"kind": "response", "request_id": "7", **FAILED},
        )
    for codec, number, data in CAPTURED:
        connection = bytes.fromhex(data)
        kind = int(b"ConnectionResponse" in connection)
        whole = frame(
            codec, connection, ref.SOFA, sofa_request(codec, SERVICE, "say"), kind=kind, way=0 if kind else 2
        )
        expect = {"kind": ("request", "response")[kind], "request_id": str(number)}
        yield Golden(
            f"captured, codec {codec}, {number}", whole, "sofa-bolt-go", "object captured, frame made", expect
        )


VECTORS = [*golden()]

# Objects with names that matter, in either dialect and in all orders; what is between them is anything.
plain = st.sampled_from(
    [
        b"N",
        b"T",
        text("x"),
        b"I\0\0\0\7",
        b"\xe5",
        b"w\0\0\0\1",
        b"R\0\0\0\0",
        b"V\x6e\1N z"[:-2] + b"z",
        b"B\0\2ab",
        b"\x05hello",
    ]
)
names = st.sampled_from([b"id", b"ctx", b"result", b"targetServiceUniqueName", b"methodName", b"other"])


@st.composite
def objects(draw, depth=2):
    inner = plain if depth == 0 else plain | objects(depth - 1)
    fields = draw(st.lists(st.tuples(names, inner), max_size=5))
    if draw(st.booleans()):
        return b"Mt\0\1x" + b"".join(text(key.decode()) + value for key, value in fields) + b"z"
    head = b"O\x91x" + bytes([0x90 + len(fields)]) + b"".join(bytes([len(key)]) + key for key, _ in fields)
    return (
        head + b"o\x90" + b"".join(value for _, value in fields)
    )  # class 0 may be another's: as hostile as it gets


frames = st.builds(
    frame,
    st.sampled_from([HESSIAN1, DRAFT, 2]),
    objects() | st.sampled_from([connection_request(DRAFT, 9), connection_response(HESSIAN1, 8, 1, "e")]),
    st.just(ref.SOFA),
    objects() | st.just(sofa_request(DRAFT, SERVICE, "say")),
    kind=st.integers(0, 1),
    way=st.integers(0, 2),
)

KIT = {
    "golden": VECTORS,
    "reference": ref.message,
    "frames": frames,
    "lacks": {"heartbeat", "drain", "drain-sent"},
    "renumber": ref.renumber,
}
