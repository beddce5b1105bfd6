"""Texts that do not stand there as their provider reads them: each place where a rule may ask for one.

What the provider reads is said by a plain reading of its own code (``java``: hessian-lite's parseUTF8Char
looks at no mark of a continuation and at no shortest form), or by what its library is known to take
(fastjson 1: other quotes and escapes; gson, which is lenient: texts without any; fastjson2: UTF-16).
"""

from __future__ import annotations

import json
import struct

import pytest
from protokit_dubbo import dubbo
from protokit_dubbo.hessian import Writer
from protokit_dubbo.messages import HEADER
from test_matching import table
from test_unreadable import entry, protobuf, said, said_later, typed
from world import World

from protokit import native
from protokit.errors import RemoteProtocolError

BAD_REQUEST = 40
TEXT, OBJECT = "Ljava/lang/String;", "Ljava/lang/Object;"
GENERIC = f"{TEXT}[{TEXT}[{OBJECT}"
HESSIAN2, FASTJSON, GSON, FASTJSON2 = 2, 6, 16, 23


def frame(serialization: int, body: bytes) -> bytes:
    return HEADER.pack(0xDABB, 0xC0 | serialization, 0, 7, len(body)) + body


def sent_by(match: dict[str, object], *before: bytes, **rules: object) -> tuple[int | None, bytes]:
    """The rule that a call was sent by, of that one and one for all others; and what its client was told.

    ``before``: the call, and in front of it such that others sent. ``rules``: what both rules say beside.
    """
    *others, data = before
    world = World(table([match, {}], rules=rules))
    for other in others:
        world.feed(world.client(), other)
    for got in world.got.values():
        got.clear()
    client = world.client()
    world.feed(client, data)
    sent = [
        (port - 10_000, bytes(world.got[up])) for up, (_, port) in world.upstreams.items() if world.got[up]
    ]
    for _, got in sent:
        assert got[12:] == data[12:]
    return (sent[0][0] if sent else None), bytes(world.got[client])


def refused(match: dict[str, object], data: bytes) -> None:
    rule, told = sent_by(match, data)
    assert rule is None
    assert (told[:2], told[3]) == (b"\xda\xbb", BAD_REQUEST)
    assert b"cannot be read" in told


# Hessian.


def java(data: bytes) -> str:
    """A text as hessian-lite reads it."""
    kind, at, found, left = data[0], 1, [], 0
    while True:
        if kind < 0x20:
            left = kind
        elif kind < 0x34:
            left, at = (kind - 0x30 << 8) + data[at], at + 1
        else:
            left, at = int.from_bytes(data[at : at + 2]), at + 2
        while left > 0:
            first = data[at]
            if first < 0x80:
                code, at, left = first, at + 1, left - 1
            elif first & 0xE0 == 0xC0:
                code, at, left = (first & 0x1F) << 6 | data[at + 1] & 0x3F, at + 2, left - 1
            elif first & 0xF0 == 0xE0:
                code = (first & 0x0F) << 12 | (data[at + 1] & 0x3F) << 6 | data[at + 2] & 0x3F
                at, left = at + 3, left - 1
            else:
                code = (first & 7) << 18 | (data[at + 1] & 0x3F) << 12 | (data[at + 2] & 0x3F) << 6
                code |= data[at + 3] & 0x3F
                at, left = at + 4, left - 2
            found.append(code)
        if kind != ord("R"):
            break
        kind, at = data[at], at + 1
    assert at == len(data)
    return "".join(map(chr, found))


def two(code: int, mark: int = 0x80) -> bytes:
    return bytes([0xC0 | code >> 6, mark | code & 0x3F])


def three(code: int, mark: int = 0x80) -> bytes:
    return bytes([0xE0 | code >> 12, mark | code >> 6 & 0x3F, mark | code & 0x3F])


def short(raw: bytes, units: int) -> bytes:
    return bytes([units]) + raw


GOLD = "g\u00f6ld"
PLAIN = short(GOLD.encode(), 4)
SPELLED = {
    "a letter in two bytes": short(two(ord("g")) + GOLD[1:].encode(), 4),
    "the last letter in two bytes": short(GOLD[:-1].encode() + two(ord("d")), 4),
    "a letter in three bytes": short(three(ord("g")) + GOLD[1:].encode(), 4),
    "one of two in three bytes": short(b"g" + three(0xF6) + b"ld", 4),
    "a continuation without its mark": short(b"g" + two(0xF6, 0x00) + b"ld", 4),
    "a continuation with the mark of a beginning": short(b"g" + two(0xF6, 0xC0) + b"ld", 4),
    "two chunks": b"R\0\2" + GOLD[:2].encode() + short(GOLD[2:].encode(), 2),
    "an empty chunk in front": b"R\0\0" + PLAIN,
    "a long form in a long form": b"\x30\x04" + two(ord("g")) + GOLD[1:].encode(),
    "behind a count of two bytes": b"S\0\4" + GOLD[:-1].encode() + two(ord("d")),
}


def written(*values: object) -> bytes:
    writer = Writer()
    for value in values:
        writer.write(value)
    return bytes(writer.data)


def hessian(*, path=None, version=None, method=None, types=OBJECT, arguments=b"N", attachments=b"") -> bytes:
    front = [written("2.0.2")]
    front += [
        one if isinstance(one, bytes) else written(one)
        for one in (path or "s", version or "1", method or "m")
    ]
    return frame(HESSIAN2, b"".join(front) + written(types) + arguments + b"H" + attachments + b"Z")


PLACES = {
    "the service": ({"service": GOLD}, lambda text: hessian(path=text)),
    "the version": ({"version": GOLD}, lambda text: hessian(version=text)),
    "the method": ({"method": GOLD}, lambda text: hessian(method=text)),
    "the attachment path": ({"service": GOLD}, lambda text: hessian(attachments=b"\4path" + text)),
    "the attachment group": ({"group": GOLD}, lambda text: hessian(attachments=b"\5group" + text)),
    "the attachment version": ({"version": GOLD}, lambda text: hessian(attachments=b"\7version" + text)),
    "an attachment's name": ({"headers": {GOLD: "x"}}, lambda text: hessian(attachments=text + b"\1x")),
    "an attachment": ({"headers": {"tenant": GOLD}}, lambda text: hessian(attachments=b"\6tenant" + text)),
    "the last of two attachments": (
        {"headers": {"tenant": GOLD}},
        lambda text: hessian(attachments=b"\6tenant\1x\6tenant" + text),
    ),
    "an argument": ({"arguments": {0: GOLD}}, lambda text: hessian(arguments=text)),
    "one behind others": (
        {"arguments": {1: GOLD}},
        lambda text: hessian(types=OBJECT * 2, arguments=short(two(97), 1) + text),
    ),
    "what is inside of one": (
        {"arguments": {"0.a": GOLD}},
        lambda text: hessian(arguments=b"H\1a" + text + b"Z"),
    ),
    "a name inside of one": (
        {"arguments": {f"0.{GOLD}": "x"}},
        lambda text: hessian(arguments=b"H" + text + b"\1xZ"),
    ),
    "a field's name": (
        {"arguments": {f"0.{GOLD}": "x"}},
        lambda text: hessian(arguments=b"C\1c\x91" + text + b"\x60\1x"),
    ),
    "an item of a list": ({"arguments": {"0.0": GOLD}}, lambda text: hessian(arguments=b"\x79" + text)),
    "the method of a generic call": (
        {"method": GOLD},
        lambda text: hessian(method="$invoke", types=GENERIC, arguments=text + b"\x78\x78"),
    ),
    "an argument of one": (
        {"arguments": {0: GOLD}},
        lambda text: hessian(method="$invoke", types=GENERIC, arguments=b"\1m\x78\x79" + text),
    ),
}
ASKED_ONLY = {
    name for name in PLACES if name.startswith(("an a", "one", "what", "a name", "a field", "an item"))
}


@pytest.mark.parametrize("place", PLACES)
def test_what_hessian_reads_otherwise_is_refused_where_a_rule_asks_for_it(place):
    match, call = PLACES[place]
    assert java(PLAIN) == GOLD
    assert sent_by(match, call(PLAIN))[0] == 0
    for spelling, text in SPELLED.items():
        assert java(text) == GOLD, spelling
        refused(match, call(text))


@pytest.mark.parametrize("place", sorted(ASKED_ONLY - {"an attachment's name"}))
def test_and_passes_as_it_came_where_none_does(place):
    _, call = PLACES[place]
    for text in SPELLED.values():
        assert sent_by({"service": "other", "headers": {"zone": "x"}}, call(text)) == (1, b"")


def test_characters_of_two_units_are_read_in_both_ways_that_peers_write_them():
    both = "\U0001f680"
    alone = both.encode("utf-16-be")
    cesu = b"".join(three(int.from_bytes(alone[i : i + 2])) for i in (0, 2))
    for raw in (cesu, both.encode()):
        text = short(b"go" + raw, 4)
        for match, call in PLACES.values():
            assert sent_by(match, call(text)) == (1, b"")
    for unit in (three(0xD83D), three(0xDC00)):  # alone, as a String in Java may have it
        assert sent_by({"arguments": {0: GOLD}}, hessian(arguments=short(b"go" + unit, 3))) == (1, b"")


ROCKET = "\U0001f680"
BEYOND = {
    "exact": f"go{ROCKET}ld",
    "prefix": f"go{ROCKET}*",
    "suffix": f"*{ROCKET}ld",
    "inside": f"*{ROCKET}*",
    "in": {"in": ["silver", f"go{ROCKET}ld"]},
    "regex": {"regex": "go.ld"},
    "any behind": "g*ld",
}


@pytest.mark.parametrize("form", BEYOND)
def test_a_rule_is_for_characters_of_two_units_in_both_ways(form):
    alone = b"".join(three(int.from_bytes(ROCKET.encode("utf-16-be")[i : i + 2])) for i in (0, 2))
    for raw in (alone, ROCKET.encode()):
        text = short(b"go" + raw + b"ld", 6)
        for match, call in (
            ({"arguments": {0: BEYOND[form]}}, hessian(arguments=text)),
            ({"headers": {"tenant": BEYOND[form]}}, hessian(attachments=b"\6tenant" + text)),
            ({"headers": {"t" * 80: BEYOND[form]}}, hessian(attachments=written("t" * 80) + text)),
        ):
            assert sent_by(match, call)[0] == 0
            assert sent_by({"not": match}, call)[0] == 1
        long = b"S" + (6 + 600).to_bytes(2) + b"go" + raw + b"ld" + 600 * b"x"
        assert sent_by({"arguments": {0: {"regex": "go.ldx*"}}}, hessian(arguments=long))[0] == 0
    for unit in (three(0xD83D), three(0xDE80)):  # alone: any character, and not that one
        data = hessian(arguments=short(b"go" + unit + b"ld", 5))
        assert sent_by({"arguments": {0: BEYOND[form]}}, data)[0] == (form not in {"regex", "any behind"})


NULLED = [
    (b"\x05value", "value"),
    (b"\x92", "2"),
    (written(True), "true"),
    (b"\x0242", "42"),
    (written(4.5), "4.5"),
]


@pytest.mark.parametrize(("value", "reads"), NULLED)
def test_arguments_of_a_generic_call_that_says_nothing_of_types(value, reads):
    """Its provider takes the one method of that name, whatever it declares: of 2 may become true."""
    generic = hessian(method="$invoke", types=GENERIC, arguments=b"\1mN\x79" + value)
    refused({"arguments": {0: reads}}, generic)
    refused({"arguments": {0: "other"}}, generic)
    assert sent_by({"method": "m"}, generic)[0] == 0
    nothing = hessian(method="$invoke", types=GENERIC, arguments=b"\1mN\x79N")
    assert sent_by({"arguments": {0: {"present": False}}}, nothing)[0] == 0
    inside = hessian(method="$invoke", types=GENERIC, arguments=b"\1mN\x79H\1a" + value + b"Z")
    assert sent_by({"arguments": {"0.a": {"present": True}}}, inside)[0] == 0


@pytest.mark.parametrize("raw", [b"\xf0\x80\x81\xa7", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80"])
def test_characters_of_four_bytes_that_there_are_not(raw):
    refused({"arguments": {0: "x"}}, hessian(arguments=short(raw, 2)))


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_limit_of_a_key_is_not_passed_by_in_another_spelling(spelling):
    for by, call in (
        ({"header": "tenant"}, lambda text: hessian(attachments=b"\6tenant" + text)),
        ({"argument": "0"}, lambda text: hessian(arguments=text)),
        ({"argument": "0.a"}, lambda text: hessian(arguments=b"H\1a" + text + b"Z")),
    ):
        limit = {"rate": "1/h", "by": by}
        rule, told = sent_by({"service": "s"}, call(PLAIN), call(PLAIN), limit=limit)
        assert rule is None
        assert b"rate limit" in told
        rule, told = sent_by({"service": "s"}, call(PLAIN), call(SPELLED[spelling]), limit=limit)
        assert (rule, told[3]) == (None, BAD_REQUEST)


def test_calls_of_a_kind_that_is_not_read_share_a_bucket():
    limit = {"rate": "1/h", "by": {"argument": "0"}}
    kryo = frame(8, b"any")
    assert sent_by({"service": "s"}, kryo, limit=limit) == (1, b"")
    rule, told = sent_by({"service": "s"}, kryo, kryo, limit=limit)
    assert rule is None
    assert b"rate limit" in told


def test_a_header_with_a_name_that_is_asked_for_alone():
    """A long one is asked for by its key, not in one pass with others."""
    name = "t" * 80
    refused(
        {"headers": {name: GOLD}}, hessian(attachments=b"\x30\x50" + name.encode() + SPELLED["two chunks"])
    )


def test_a_request_that_is_refused_is_refused_again():
    """What a codec remembers of a request's end makes no other of it."""
    world = World(table([{"headers": {"tenant": GOLD}}, {}]))
    for _ in range(3):
        client = world.client()
        world.feed(client, hessian(attachments=b"\6tenant" + SPELLED["two chunks"]))
        assert world.got[client][3] == BAD_REQUEST
    assert not world.upstreams


def test_a_header_that_is_not_said_as_it_stands_is_none_to_keys_and_filters():
    data = hessian(attachments=b"\6tenant" + SPELLED["two chunks"] + b"\4zone\1z")
    address = dubbo.wire.address
    assert native.header(address, data, "zone") == "z"
    with pytest.raises(RemoteProtocolError, match="header 'tenant'"):
        native.header(address, data, "tenant")
    assert dict(native.headers(address, data)) == {"zone": "z"}


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_filter_that_looks_at_all_headers_is_passed_by_with_none(spelled):
    """Whoever asks for one that its provider reads is told, as by ``header``, in whatever order filters look.

    Names that are spelled so might be the destination's: such requests reach no filter.
    """
    data = hessian(attachments=b"\6tenant" + SPELLED[spelled] + b"\4zone\1z")
    request = dubbo.wire.ask.request(data, 100, lazy=True)
    assert dict(request.headers) == {"zone": "z"}
    for headers in (request.headers, request.copy().headers):
        assert headers["zone"] == "z"
        for ask in (headers.get, headers.__getitem__, headers.__contains__, headers.pop):
            with pytest.raises(RemoteProtocolError, match="header") as raised:
                ask("tenant")
    assert not request.could_not_be_read(raised.value)
    with pytest.raises(RemoteProtocolError) as raised:
        request.headers.get("tenant")
    assert request.could_not_be_read(raised.value)
    request.headers["tenant"] = "plain"  # what a filter says itself is so
    assert request.headers["tenant"] == request.header("tenant") == "plain"


# Values of another type than the parameter's: the provider makes one of it.

INT, LONG, BOOL = "Ljava/lang/Integer;", "Ljava/lang/Long;", "Ljava/lang/Boolean;"
#: A parameter's type, what stands there, what the provider gets of it, and whether that is what is compared.
CONVERTED = [
    ("I", written(1.0), "1", False),
    ("I", b"T", "1", False),
    ("I", b"N", "0", False),
    ("I", written(1 << 32 | 5), "5", False),
    ("S", written(1 << 16 | 5), "5", False),
    ("B", written(256 + 5), "5", False),
    ("J", written(1.0), "1", False),
    (INT, written(1.0), "1", False),
    (LONG, written(1.0), "1", False),
    ("Z", written(1), "true", False),
    (BOOL, written(1), "true", False),
    ("C", written("xyz"), "x", False),
    ("Ljava/lang/Character;", written("xyz"), "x", False),
    (TEXT, written(1.0), "1.0", False),
    ("I", written(7), "7", True),
    ("J", written(7), "7", True),
    ("S", written(7), "7", True),
    (INT, written(-7), "-7", True),
    (INT, written("7"), "7", True),
    ("I", written("07"), "7", False),
    ("I", written("+7"), "7", False),
    ("I", written(" 7"), "7", False),
    ("I", written(""), "0", False),
    ("I", written("-"), "0", False),
    ("J", written("9" * 40), "0", False),
    ("Z", b"T", "true", True),
    ("C", written("x"), "x", True),
    ("C", written("\u20ac"), "\u20ac", True),
    (TEXT, written(7), "7", True),
    (TEXT, b"T", "true", True),
    (OBJECT, written(7), "7", True),
    ("Ljava/lang/Number;", written(7), "7", True),
]
NAMED = {"I": "int", "S": "short", "B": "byte", "J": "long", "Z": "boolean", "C": "char"}


@pytest.mark.parametrize(("type_", "value", "reads", "alike"), CONVERTED)
def test_a_value_of_another_type_than_its_parameter(type_, value, reads, alike):
    named = NAMED.get(type_, type_[1:-1].replace("/", "."))
    generic = hessian(method="$invoke", types=GENERIC, arguments=b"\1m" + written([named]) + b"\x79" + value)
    for data in (hessian(types=type_, arguments=value), generic):
        if alike:
            assert sent_by({"arguments": {0: reads}}, data)[0] == 0
        else:
            refused({"arguments": {0: reads}}, data)


@pytest.mark.parametrize("around", [" {}", "{} ", "\t{}\n", "\0 {}", "  {}\r\n\0"])
def test_a_method_of_a_generic_call_is_read_without_blanks_around_it(around):
    """Providers trim it."""
    named = around.format("gold")
    for data in (
        hessian(method="$invoke", types=GENERIC, arguments=written(named) + b"\x78\x78"),
        in_jsonb(method=word("$invokeAsync"), types=TEXT, argument=word(named)),
    ):
        assert sent_by({"method": "gold"}, data)[0] == 0
        assert native.request(dubbo.wire.address, data).method == "gold"
    kept = hessian(method="$invoke", types=GENERIC, arguments=written(around.format("go ld")) + b"\x78\x78")
    assert native.request(dubbo.wire.address, kept).method == "go ld"
    assert sent_by({"method": "gold"}, hessian(method=named)) == (1, b"")  # of others it is another method


#: An `int` said in a generic call in another way than its provider reads it, in a list of texts.
TYPE_VEILED = {
    "in chunks": b"\x79R\0\1i" + short(b"nt", 2),
    "a letter in two bytes": b"\x79" + short(two(ord("i")) + b"nt", 3),
}


@pytest.mark.parametrize("said", TYPE_VEILED)
def test_a_type_of_a_generic_call_that_is_read_otherwise(said):
    for value in (written(1.0), written(1)):  # whatever it is: of which type cannot be told
        refused(
            {"arguments": {0: "1"}},
            hessian(method="$invoke", types=GENERIC, arguments=b"\1m" + TYPE_VEILED[said] + b"\x79" + value),
        )


@pytest.mark.parametrize("type_", [INT, LONG, BOOL, TEXT, OBJECT])
def test_null_where_the_type_has_it_is_not_there(type_):
    assert sent_by({"arguments": {0: "0"}}, hessian(types=type_)) == (1, b"")


@pytest.mark.parametrize("type_", ["D", "F", OBJECT, "Ljava/util/List;", "[I"])
def test_other_types_have_no_text(type_):
    assert sent_by({"arguments": {0: "1.5"}}, hessian(types=type_, arguments=written(1.5))) == (1, b"")


# JSON.


def in_json(*, types=OBJECT, argument='"x"', attachments="{}", method='"m"', serialization=FASTJSON) -> bytes:
    items = ('"2.0.2"', '"s"', '"1"', method, json.dumps(types), argument, attachments)
    return frame(serialization, "".join(one + "\n" for one in items).encode())


QUOTED = {
    "other quotes": "'gold'",
    "an escape by number": '"g\\u006fld"',
    "one in hex": '"g\\x6fld"',
    "a space in front": ' "gold"',
    "one behind": '"gold" ',
    "a comment": '/**/"gold"',
    "none, as gson takes it": "gold",
    "of letters that stand in words of JSON": "real",
    "a number that is none": "1real",
}


@pytest.mark.parametrize("serialization", [FASTJSON, GSON])
@pytest.mark.parametrize("quoted", QUOTED)
def test_what_json_reads_otherwise(quoted, serialization):
    text = QUOTED[quoted]
    for match, call in (
        ({"arguments": {0: "gold"}}, in_json(argument=text, serialization=serialization)),
        ({"arguments": {"0.a": "gold"}}, in_json(argument=f'{{"a":{text}}}', serialization=serialization)),
        (
            {"headers": {"tenant": "gold"}},
            in_json(attachments=f'{{"tenant":{text}}}', serialization=serialization),
        ),
        ({"service": "gold"}, in_json(attachments=f'{{"path":{text}}}', serialization=serialization)),
        (
            {"method": "gold"},
            in_json(method='"$invoke"', types=TEXT, argument=text, serialization=serialization),
        ),
    ):
        refused(match, call)


@pytest.mark.parametrize("argument", [*QUOTED.values(), '"x', 'x"', '"x"y', '{"a": 1} ', ""])
def test_arguments_in_json_pass_as_they_came_where_nobody_asks_for_them(argument):
    assert sent_by({"headers": {"zone": "x"}}, in_json(argument=argument)) == (1, b"")
    two = in_json(types=OBJECT * 2, argument=f'{argument}\n"gold"')
    assert sent_by({"arguments": {1: "gold"}}, two)[0] == 0


def test_json_as_it_is_written():
    assert sent_by({"arguments": {0: "gold"}}, in_json(argument='"gold"'))[0] == 0
    assert sent_by({"headers": {"tenant": "gold"}}, in_json(attachments='{"tenant":"gold"}'))[0] == 0
    assert sent_by({"headers": {"tenant": "gold"}}, in_json(attachments='{"n":1.5,"tenant":"gold"}'))[0] == 0
    assert sent_by({"arguments": {0: "7"}}, in_json(argument="7"))[0] == 0
    assert sent_by({"arguments": {0: "gold"}}, in_json(argument='{"a":[1,null]}')) == (1, b"")
    odd = in_json(argument="'x'", attachments='{"other":\'x\',"tenant":"gold"}')
    assert sent_by({"headers": {"tenant": "gold"}}, odd)[0] == 0  # nobody asks for what is odd


@pytest.mark.parametrize(("number", "reads"), [("007", "007"), ("-0", "-0"), ("1.0", "1.0"), ("1e2", "1e2")])
def test_a_number_for_a_text_keeps_its_digits(number, reads):
    refused({"arguments": {0: reads}}, in_json(types=TEXT, argument=number))


def test_of_a_name_that_stands_twice_in_json_the_last_counts():
    """fastjson puts it into its map twice; so do its setters."""
    twice = '{"a":"gold","a":"x"}'
    assert sent_by({"arguments": {"0.a": "x"}}, in_json(argument=twice))[0] == 0
    assert sent_by({"arguments": {"0.a": "gold"}}, in_json(argument=twice)) == (1, b"")
    assert sent_by({"headers": {"a": "x"}}, in_json(attachments=twice))[0] == 0
    assert sent_by({"headers": {"a": "gold"}}, in_json(attachments=twice)) == (1, b"")


def test_a_name_in_json_with_an_escaped_slash():
    refused({"headers": {"a/b": "x"}}, in_json(attachments='{"a\\/b":"x"}'))


# JSONB.


def word(text: str) -> bytes:
    return bytes([0x49 + len(text)]) + text.encode()


def utf16(text: str, tag: int = 0x7C) -> bytes:
    raw = text.encode({0x7B: "utf-16", 0x7C: "utf-16-le", 0x7D: "utf-16-be"}[tag])
    return bytes([tag, len(raw)]) + raw


def in_jsonb(*, types=OBJECT, argument=b"\xaf", attachments=b"", method=None) -> bytes:
    items = (
        word("2.0.2"),
        word("s"),
        word("1"),
        method or word("m"),
        b"\x7a\x38" + bytes([len(types)]) + types.encode(),
    )
    every = (*items, argument, b"\xa6" + attachments + b"\xa5")
    return frame(FASTJSON2, b"".join(struct.pack(">I", len(one)) + one for one in every))


VEILED = {
    "UTF-16": utf16("gold"),
    "UTF-16, the other way": utf16("gold", 0x7D),
    "UTF-16 with a mark": utf16("gold", 0x7B),
    "a symbol": b"\x7f" + word("gold") + b"\0",
    "Latin-1": b"\x4d" + "göld".encode("latin-1"),
    "UTF-8 that is none": b"\x7a\x05" + two(ord("g")) + b"old",
    "surrogates in UTF-8": b"\x7a\x07g" + three(0xD83D) + three(0xDE80),
}


@pytest.mark.parametrize("veiled", VEILED)
def test_what_fastjson2_reads_otherwise(veiled):
    text = VEILED[veiled]
    for match, call in (
        ({"arguments": {0: "gold"}}, in_jsonb(argument=text)),
        ({"arguments": {"0.a": "gold"}}, in_jsonb(argument=b"\xa6" + word("a") + text + b"\xa5")),
        ({"headers": {"tenant": "gold"}}, in_jsonb(attachments=word("tenant") + text)),
        ({"service": "gold"}, in_jsonb(attachments=word("path") + text)),
        ({"method": "gold"}, in_jsonb(method=word("$invoke"), types=TEXT, argument=text)),
    ):
        refused(match, call)


@pytest.mark.parametrize("tag", [0x7B, 0x7C, 0x7D])
@pytest.mark.parametrize("name", ["t", "tag", "tenant"])
def test_a_name_in_utf_16_of_any_length(name, tag):
    refused({"headers": {name: "x"}}, in_jsonb(attachments=utf16(name, tag) + word("x")))


def test_names_and_values_of_other_alphabets_that_nobody_asks_for():
    data = in_jsonb(attachments=utf16("\u8def\u5f84") + utf16("\u503c") + word("tenant") + word("gold"))
    assert sent_by({"headers": {"tenant": "gold"}}, data)[0] == 0


def test_characters_and_enums_are_texts_in_jsonb():
    for code in (9, ord("a"), ord("~")):
        small = bytes([code]) if code < 0x30 else bytes([0x38, code])
        assert sent_by({"arguments": {0: chr(code)}}, in_jsonb(types="C", argument=b"\x90" + small))[0] == 0
    refused({"arguments": {0: "\u20ac"}}, in_jsonb(types="C", argument=b"\x90\x44\x20\xac"))
    refused({"arguments": {0: "\t"}}, in_jsonb(types="C", argument=b"\x90\xe9"))  # a long's 9
    named = b"\x92" + word("c.Level") + b"\0" + word("gold")
    assert sent_by({"arguments": {0: "gold"}}, in_jsonb(types="Lc/Level;", argument=named))[0] == 0
    refused({"arguments": {0: "gold"}}, in_jsonb(argument=b"\x93" + word("$.a")))


def test_of_a_name_that_stands_twice_in_jsonb_the_last_counts():
    twice = b"\xa6" + word("a") + word("gold") + word("a") + word("x") + b"\xa5"
    assert sent_by({"arguments": {"0.a": "x"}}, in_jsonb(argument=twice))[0] == 0
    assert sent_by({"arguments": {"0.a": "gold"}}, in_jsonb(argument=twice)) == (1, b"")


@pytest.mark.parametrize(
    ("type_", "value", "reads"),
    [
        ("I", "b3", "1"),
        ("I", "b53ff8000000000000", "1"),
        ("Z", "01", "true"),
        (TEXT, "b53ff8000000000000", "1.5"),
        (TEXT, "b80a", "10"),
    ],
)
def test_a_value_of_another_type_in_jsonb(type_, value, reads):
    refused({"arguments": {0: reads}}, in_jsonb(types=type_, argument=bytes.fromhex(value)))


# Protobuf: attachments are said again with their types, by which newer providers go.

NAMES = ("tenant", "t" * 80)  # the second is asked for by its key, not in one pass with others
SAID_OTHERWISE = {
    "another": lambda name: said(name, "x", "gold"),
    "another, as later": lambda name: said_later(name, "x", "gold"),
    "another in front": lambda name: said(name, "x", "gold")[::-1],
    "another behind the same": lambda name: (*said(name, "x", "x"), typed(name, "gold")),
    "another in front of the same": lambda name: (typed(name, "gold"), *said(name, "x", "x")),
    "with its type only": lambda name: (typed(name, "gold"),),
    "of another type": lambda name: (entry(name, b"x"), typed(name, "x", "java.lang.Integer")),
    "another behind others": lambda name: (entry(name, b"x"), *said("zone", "z", "z"), typed(name, "gold")),
}


@pytest.mark.parametrize("otherwise", SAID_OTHERWISE)
@pytest.mark.parametrize("name", NAMES, ids=["short", "long"])
def test_an_attachment_of_protobuf_that_newer_providers_read_otherwise(name, otherwise):
    entries = (*SAID_OTHERWISE[otherwise](name), *said("zone", "z", "z"))
    data = protobuf(*entries)
    for asked in ("gold", "x"):
        refused({"headers": {name: asked}}, data)
    assert sent_by({"headers": {"zone": "z"}}, data)[0] == 0
    with pytest.raises(RemoteProtocolError, match="header 't"):
        native.header(dubbo.wire.address, data, name)
    assert dict(native.headers(dubbo.wire.address, data)) == {"zone": "z"}


@pytest.mark.parametrize("again", [said, said_later])
def test_one_that_is_said_again_alike(again):
    data = protobuf(entry("old", b"o"), *again("tenant", "gold", "gold"), *again("empty", "", ""))
    for match in ({"tenant": "gold"}, {"old": "o"}, {"empty": ""}):
        assert sent_by({"headers": match}, data)[0] == 0
    found = native.headers(dubbo.wire.address, data)
    assert dict(found) == {"old": "o", "tenant": "gold", "empty": ""}


def test_more_attachments_of_protobuf_than_are_compared():
    few, many = (protobuf(*(entry(f"k{n}", b"v") for n in range(size))) for size in (256, 257))
    assert len(native.headers(dubbo.wire.address, few)) == 256
    for ask in (native.headers, lambda address, data: native.header(address, data, "k1")):
        with pytest.raises(RemoteProtocolError):
            ask(dubbo.wire.address, many)
