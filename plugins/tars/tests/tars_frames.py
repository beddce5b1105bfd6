"""Whole frames, whatever they say."""

from hypothesis import strategies as st


def head(tag, kind):
    return bytes([tag << 4 | kind]) if tag < 15 else bytes([0xF0 | kind, tag])


def number(tag, value, width=None):
    """An integer, in as few bytes as it needs, or in more."""
    least = (
        0
        if value == 0
        else next(size for size in (1, 2, 4, 8) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
    )
    size = max(least, width or 0)
    return head(tag, {0: 12, 1: 0, 2: 1, 4: 2, 8: 3}[size]) + value.to_bytes(size, "big", signed=True)


def text(tag, value):
    if len(value) < 256:
        return head(tag, 6) + bytes([len(value)]) + value
    return head(tag, 7) + len(value).to_bytes(4, "big") + value


def pairs(tag, values):
    return (
        head(tag, 8)
        + number(0, len(values))
        + b"".join(text(0, key) + text(1, value) for key, value in values)
    )


def octets(tag, value):
    return head(tag, 13) + b"\0" + number(0, len(value)) + value


def frame(*fields):
    data = b"".join(fields)
    return (len(data) + 4).to_bytes(4, "big") + data


def request(version, kind, message_type, request_id, *fields):
    return frame(number(1, version), number(2, kind), number(3, message_type), request_id(4), *fields)


def answer(version, kind, message_type, request_id, *fields):
    return frame(number(1, version), number(2, kind), request_id(3), number(4, message_type), *fields)


names = st.sampled_from([b"", b"Demo.Echo.EchoObj", b"echo", b"tars_ping", b"x" * 300])
ids = st.builds(
    lambda value, width: lambda tag: number(tag, value, width),
    st.sampled_from(
        [0, 1, -1, 127, 128, 32767, 32768, 0x00FFFFFF, 0x01000000, 0x01FFFFFF, 2**31 - 1, -(2**31)]
    ),
    st.sampled_from([None, None, 1, 2, 4]),
)
numbers = st.integers(-(2**31), 2**31 - 1)
maps = st.lists(st.tuples(st.binary(max_size=2), st.binary(max_size=2)), max_size=3)
values = st.one_of(
    st.builds(number, st.integers(0, 20), numbers),
    st.builds(text, st.integers(0, 20), st.binary(max_size=3)),
    st.builds(octets, st.integers(0, 20), st.binary(max_size=3)),
    st.builds(lambda tag: head(tag, 4) + b"abcd", st.integers(0, 20)),
)
nested = st.recursive(
    values,
    lambda inner: (
        st.builds(
            lambda tag, many: head(tag, 10) + b"".join(many) + b"\x0b",
            st.integers(0, 20),
            st.lists(inner, max_size=2),
        )
        | st.builds(
            lambda many: head(9, 9) + number(0, len(many)) + b"".join(many), st.lists(inner, max_size=2)
        )
    ),
    max_leaves=4,
)
raw = nested.map(lambda value: head(9, 8) + number(0, 1) + value + b"\x1c")  # what is no map of texts
more = st.just(b"") | st.builds(text, st.just(200), names) | st.just(head(40, 10) + b"\x1c\x0b")
requests = st.builds(
    request,
    st.sampled_from([1, 5]),
    st.sampled_from([0, 1]),
    st.sampled_from([0, 4, 0x2000]),
    ids,
    names.map(lambda name: text(5, name)),
    names.map(lambda name: text(6, name)) | st.just(b""),
    st.builds(octets, st.just(7), st.binary(max_size=5)),
    numbers.map(lambda value: number(8, value)) | st.just(b""),
    maps.map(lambda value: pairs(9, value)) | raw | st.just(b""),
    maps.map(lambda value: pairs(10, value)),
    more,
)
answers = st.builds(
    answer,
    st.sampled_from([1, 5]),
    st.just(0),
    st.sampled_from([0, 4, 0x2000]),
    ids,
    st.sampled_from([0, -1, -3, -4, -6, -7, -8, -9, -10, -99, 17]).map(lambda code: number(5, code)),
    st.builds(octets, st.just(6), st.binary(max_size=5)),
    maps.map(lambda value: pairs(7, value)) | st.just(b""),
    names.map(lambda name: text(8, name)) | st.just(b""),
    maps.map(lambda value: pairs(9, value)) | raw | st.just(b""),
    more,
)
frames = requests | answers
