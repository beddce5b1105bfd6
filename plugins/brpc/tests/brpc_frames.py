"""Whole frames, whatever they say; some requests in them are malformed."""

from hypothesis import strategies as st


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


pairs = st.builds(
    lambda key, value: text(1, key) + text(2, value), st.binary(max_size=3), st.binary(max_size=3)
)


def fields(numbers):
    return st.one_of(
        st.builds(number, numbers, st.integers(0, 2**64 - 1)),
        st.builds(text, numbers, st.binary(max_size=4) | pairs),
        st.builds(lambda field: varint(field << 3 | 5) + b"abcd", numbers),
    )


anything = fields(st.integers(1, 12))
requests = st.lists(
    st.builds(text, st.sampled_from([1, 2]), st.sampled_from([b"Echo", b"echo", b""]))
    | st.builds(text, st.just(7), pairs)
    | st.builds(number, st.just(8), st.integers(0, 5000) | st.just(2**64 - 1))
    | anything,
    max_size=5,
).map(b"".join)
codes = st.sampled_from(
    [0, 1001, 1002, 1003, 1004, 1008, 1009, 1011, 2001, 2002, 2003, 2004, 3000, 5017, 2**64 - 1]
)
responses = st.builds(
    lambda code, rest: number(1, code) + rest, codes, fields(st.integers(2, 5)) | st.just(b"")
) | st.just(b"")
asked = st.builds(text, st.just(1), requests | st.binary(max_size=6))
answered = st.builds(text, st.just(2), responses)
ids = st.builds(number, st.just(4), st.integers(0, 300) | st.integers(2**62, 2**64 - 1))
rest = st.builds(text, st.just(9), pairs) | fields(st.sampled_from([3, 5, 7, 8, 9, 10, 20]))
metas = st.builds(
    lambda parts, more: b"".join(parts) + b"".join(more),
    st.tuples(asked, ids) | st.tuples(answered, ids) | st.tuples(asked, answered, ids),
    st.lists(rest, max_size=2),
)
sizes = st.builds(
    lambda meta, body: (len(meta) + len(body), len(meta), meta + body), metas, st.binary(max_size=8)
)
frames = sizes.map(lambda one: b"PRPC" + one[0].to_bytes(4, "big") + one[1].to_bytes(4, "big") + one[2])
