"""Images of routing tables: what fills a record is what the record has, and the engine takes no wrong one."""

from __future__ import annotations

import struct

import msgspec
import pytest
from world import LIMITS, World, table

from protokit import native
from protokit import table as packing
from protokit.config.regex import automaton
from protokit.dataplane import changes, conditions, destinations
from protokit.dataplane import compile as compiling
from protokit.dataplane.destinations import joined
from protokit.errors import ProtokitError
from protokit.table import Image, Source
from protokit.testing.tables import TableBuilder

KINDS = native.table_kinds()
HEAD, HEADS = native.members("pk_table")
PLACES = {member.name: member.at for member in HEADS}
NONE = native.NONE
MADE = [
    "codecs",
    "schedules",
    "slots",
    "prefixes",
    "value_slots",
    "headers",
    "by_value",
    "led",
    "states",
    "choice_slots",
    "places",
    "wanted",
]


def build(codec: int) -> TableBuilder:
    """Two and more of everything, and something behind each array that a wrong number could reach."""
    builder = TableBuilder(LIMITS, seed=3)
    for i in range(3):
        builder.cluster(f"c{i}", "least-request", 2, 1000, subset="v=1" if i else "")
        for n in range(2):
            builder.endpoint(2 * i + n, "127.0.0.1", 9000 + 2 * i + n, 1 + n)
    for i in range(4):
        sticky = [("header", "user")] if i else []
        builder.plan(
            f"p{i}", timeout_ms=5, attempts=2, retry_on=("reset", "timeout"), idempotent=True, sticky=sticky
        )
        builder.split(i % 3, 2)
        builder.split((i + 1) % 3, 1, choice=i - 1 if i in {1, 2} else None)
        builder.change("header", "append", "k", of=builder.origin("header", "v"))
    builder.choice({"tag": "version", "lane": "lane"}, {("v1", ""): 0, ("v2", "a"): 1}, cluster="c0")
    builder.choice({"x-cluster": ""}, {("c2",): 2}, otherwise=1)
    for i in range(2):
        builder.routes(f"r{i}")
        builder.rule("svc", "m", "*", "*", i)
        builder.condition("all", size=6)
        builder.condition("header", "in", key="tag")
        for value in ("gray", "red", "")[i:]:
            builder.value(value)
        builder.condition("not", size=2)
        builder.condition("oneway")
        made = automaton("a[bc]*" if i else "")
        builder.condition("version", "regex", automaton=builder.automaton(*made))
        builder.condition("header", "range", key="n", low=2**63 - 1, high=2**64 - 1)
        builder.rule("sv*", "*", "1*", "g", 2)
        builder.condition("header", "exact", key="tag", text="gray")
        builder.rule("*", "*", "*", "*", 3)
    builder.listener(0, "routed", routes=1, plan=None, pinned=False, codecs=[codec, codec], fallback=2)
    builder.listener(2, "direct", routes=None, plan=3, pinned=True, codecs=[codec])
    return builder


@pytest.fixture(scope="module")
def right(wide):
    return build(wide.address).image()


def arrays(image: bytes) -> dict[str, tuple[int, int]]:
    return {kind.name: struct.unpack_from("=II", image, kind.at) for kind in KINDS}


def changed(image: bytes, at: int, value: int) -> bytes:
    other = bytearray(image)
    struct.pack_into("=I", other, at, value)
    return bytes(other)


def load(right, image: bytes) -> None:
    native.Table.load(image, right[1]).free()


def wrong_values(field, record: bytes, counts: dict[str, int]) -> set[int]:
    """Numbers that a field of that record must not have."""
    every = counts.get(field.array, 0)
    (second,) = struct.unpack_from("=I", record, field.at + 4) if field.at + 8 <= len(record) else (0,)
    match field.rule:
        case "number":
            return {number % 2**32 for number in (field.low - 1, field.high + 1)} - {0, NONE} | (
                {0} if field.low else {NONE} if field.high < NONE else set()
            )
        case "made":
            return {1, NONE}
        case "text":
            return {every - second + 1, every + 1, NONE, NONE - second + 1} - {2**32}
        case "index":
            return {every, every + 1, NONE - 1, NONE}
        case "optional":
            return {every, every + 1, NONE - 1}
        case "range":
            return {every - second + 1, every + 1, NONE, NONE - second + 1} - {2**32}
        case "parts":
            return {every + 1, NONE}
        case "count":
            return {every + 1, NONE} | ({0} if field.low else set())
    raise AssertionError(field)


FIELDS = [(kind, field) for kind in KINDS for field in kind.fields if field.rule != "bytes"]


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=[f"{kind.name}.{one.name}" for kind, one in FIELDS])
def test_a_number_that_a_field_cannot_have_is_refused(right, kind, field):
    image = right[0]
    counts = {name: count for name, (_, count) in arrays(image).items()} | {"codecs": len(right[1])}
    first, count = arrays(image)[kind.name]
    assert count >= 2
    for number in range(count):
        at = first + number * kind.size
        record = image[at : at + kind.size]
        for value in wrong_values(field, record, counts):
            with pytest.raises(
                ProtokitError, match=rf"^the routing table was refused: {kind.name}(\[\d+\])?\."
            ):
                load(right, changed(image, at + field.at, value))


def test_a_texts_end_and_a_ranges_end_are_in_their_array(right):
    image = right[0]
    places = arrays(image)
    for kind, field in FIELDS:
        if field.rule in {"text", "range"} and field.name not in {
            "program",
            "values",
        }:  # which have the size that they need
            first, count = places[kind.name]
            size = places[field.array][1] if field.array in places else len(right[1])
            for number in range(count):
                at = first + number * kind.size + field.at
                (begin,) = struct.unpack_from("=I", image, at)
                load(right, changed(image, at + 4, size - begin))
                for value in (size - begin + 1, NONE, NONE - begin + 1):
                    with pytest.raises(ProtokitError, match=rf"{kind.name}\[{number}\]"):
                        load(right, changed(image, at + 4, value % 2**32 or NONE))


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field) for kind, field in FIELDS if field.rule == "parts"],
    ids=lambda one: one.name,
)
def test_parts_follow_one_another(right, kind, field):
    """Neither shared, nor nobody's: the engine links what is in them."""
    image = right[0]
    first, count = arrays(image)[kind.name]
    for number in range(count):
        at = first + number * kind.size + field.at
        begin, size = struct.unpack_from("=II", image, at)
        for place, values in (
            (at, {begin - 1, begin + 1, 0} - {begin, -1}),
            (at + 4, {size - 1, size + 1} - {-1}),
        ):
            for value in values:
                with pytest.raises(ProtokitError, match=rf"refused: {kind.name}(\[\d+\])?\.{field.name}: "):
                    load(right, changed(image, place, value))


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_an_array_that_is_not_between_its_neighbours_is_refused(right, name):
    image = right[0]
    at, count = arrays(image)[name]
    place = PLACES[name]
    for wrong in (0, at - 8, at + 4, at + 1, len(image), len(image) + 8, NONE - 7, NONE):
        with pytest.raises(ProtokitError, match="refused"):
            load(right, changed(image, place, wrong))
    for wrong in (len(image), NONE, NONE // 8):
        with pytest.raises(
            ProtokitError, match=rf"refused: \w+: {wrong} records at byte {at} are not between"
        ):
            load(right, changed(image, place + 4, wrong))
    with pytest.raises(ProtokitError, match="refused"):
        load(right, changed(image, place + 4, count + 1) if name != "text" else image[:-8])


@pytest.mark.parametrize("name", MADE)
def test_what_the_engine_makes_is_not_the_images_to_say(right, name):
    for at in (PLACES[name], PLACES[name] + 4):
        with pytest.raises(ProtokitError, match="refused: .* not the image's to say"):
            load(right, changed(right[0], at, 8))


def test_an_image_of_another_size_is_refused(right):
    image, codecs = right
    for part in (b"", image[:7], image[: HEAD - 1], image[:HEAD], image[:-8], image + bytes(8)):
        with pytest.raises(ProtokitError, match="refused: it has "):
            native.Table.load(part, codecs)


def test_codecs_that_the_engine_cannot_use_are_refused(right):
    with pytest.raises(ProtokitError, match="refused: codec 1: its address is 0"):
        native.Table.load(right[0], [right[1][0], 0, right[1][2]])
    with pytest.raises(
        ProtokitError, match=r"refused: listeners\[0\]\.codec: 2 from 0 on are not of 1 codecs"
    ):
        native.Table.load(right[0], right[1][:1])


def test_a_listener_has_either_routes_or_a_plan(right):
    image = right[0]
    kind = next(kind for kind in KINDS if kind.name == "listeners")
    places = {field.name: field.at for field in kind.fields}
    first, _ = arrays(image)[kind.name]
    for name, value in (("routes", NONE), ("plan", 0)):
        with pytest.raises(ProtokitError, match=r"listeners\[0\] has not either routes or a plan"):
            load(right, changed(image, first + places[name], value))


@pytest.mark.parametrize("part", ["near", "far"])
def test_a_cluster_prefers_some_to_some_others(right, part):
    image = right[0]
    kind = next(kind for kind in KINDS if kind.name == "clusters")
    places = {field.name: field.at for field in kind.fields}
    first, _ = arrays(image)[kind.name]
    with pytest.raises(ProtokitError, match=r"clusters\[0\]\.prefer has one of near and far"):
        load(right, changed(image, first + places[f"prefer.{part}"], 1))


@pytest.mark.parametrize(
    ("least", "requests", "fits"),
    [(0, NONE, True), (1, 1, True), (2, 1, False), (1, 0, False), (1, 2**31 - 1, True), (1, 2**31, False)],
)
def test_a_limit_that_is_found_has_a_bit_left(right, least, requests, fits):
    image = right[0]
    kind = next(kind for kind in KINDS if kind.name == "clusters")
    places = {field.name: field.at for field in kind.fields}
    at, _ = arrays(image)[kind.name]
    image = changed(image, at + places["breaker.least"], least)
    image = changed(image, at + places["breaker.requests"], requests)
    if fits:
        load(right, image)
    else:
        with pytest.raises(ProtokitError, match=r"clusters\[0\]\.breaker finds a limit from"):
            load(right, image)


def test_who_keeps_a_value_does_not_take_an_arguments():
    """Its digits last only until the next one is asked for."""
    for origin in ("argument", "header"):
        changing, choosing = TableBuilder(LIMITS, seed=1), TableBuilder(LIMITS, seed=1)
        for builder in (changing, choosing):
            builder.cluster("c", "round-robin", 1, 1000)
            builder.plan("p")
            builder.split(0, 1)
        changing.change("header", "set", "key", of=changing.origin(origin, "0"))
        choosing.choice({"h": ""}, {})
        choosing.add("choice_words", of=choosing.origin(origin, "0"), name="")
        choosing.add("choice_options", values=joined(["x", "y"]), cluster=0)
        for builder, what in ((changing, "changes"), (choosing, "choices")):
            if origin == "header":
                builder.finish().free()
            else:
                with pytest.raises(ProtokitError, match=rf"{what}\[0\]: an argument is known only until"):
                    builder.finish()


def test_weights_of_a_split_over_all_that_can_be_counted_are_refused(wide):
    builder = TableBuilder(LIMITS, seed=3)
    builder.cluster("c", "round-robin", 1, 1000)
    builder.plan("p")
    for weight in (NONE, 1):
        builder.split(0, weight)
    with pytest.raises(ProtokitError, match=r"plans\[0\]: the weights of its splits are 4294967296 in all"):
        builder.finish()


def tree(*rows):
    """The image of a rule that asks that."""
    builder = TableBuilder(LIMITS, seed=3)
    builder.cluster("c", "round-robin", 1, 1000)
    builder.plan("p")
    builder.split(0, 1)
    builder.routes("r")
    builder.rule("*", "*", "*", "*", 0)
    for condition, match, size, more in rows:
        values = more.pop("values", ())
        if "program" in more:
            more["automaton"] = builder.automaton(*more.pop("program"))
        builder.condition(condition, match, size=size, **more)
        for value in values:
            builder.value(value)
    return builder


NOTHING = automaton("")
NETWORK = bytes(15) + b"\1" + b"\0" * 15 + b"\xff"
TREES = [
    ([("all", "any", 1, {})], "too many or too few"),
    ([("any", "any", 1, {})], "too many or too few"),
    ([("not", "any", 3, {}), ("oneway", "any", 1, {}), ("oneway", "any", 1, {})], "too many or too few"),
    ([("all", "any", 3, {}), ("oneway", "any", 1, {})], "its size"),
    ([("all", "any", 2, {}), ("oneway", "any", 1, {}), ("oneway", "any", 1, {})], "its size"),
    ([("all", "any", 3, {}), ("not", "any", 3, {}), ("oneway", "any", 1, {})], "its size"),
    ([("oneway", "any", 2, {}), ("oneway", "any", 1, {})], "something stands in what asks by itself"),
    ([("not", "any", 17 - n, {}) for n in range(16)] + [("oneway", "any", 1, {})], None),
    ([("not", "any", 18 - n, {}) for n in range(17)] + [("oneway", "any", 1, {})], "nested too deeply"),
    ([("header", "in", 1, {})], "one of several has values"),
    ([("header", "exact", 1, {"values": ["a"]})], "one of several has values"),
    ([("not", "in", 2, {"values": ["a"]}), ("oneway", "any", 1, {})], "what is made of others asks nothing"),
    ([("header", "networks", 1, {"values": [NETWORK]})], "an address is asked for by networks"),
    ([("source", "in", 1, {"values": [NETWORK]})], "an address is asked for by networks"),
    ([("source", "networks", 1, {})], "one of several has values"),
    ([("source", "networks", 1, {"values": [NETWORK[1:]]})], "a network is no two addresses"),
    ([("source", "networks", 1, {"values": [NETWORK, NETWORK]})], "its networks are not in order"),
    ([("source", "networks", 1, {"values": [NETWORK, NETWORK[16:] * 2]})], "its networks are not in order"),
    ([("source", "networks", 1, {"values": [NETWORK[::-1]]})], "a network ends before it begins"),
    ([("source", "networks", 1, {"values": [NETWORK, b"\1" + NETWORK[1:16] + b"\2" * 16]})], None),
    ([("header", "regex", 1, {})], "a regular expression has an automaton"),
    ([("header", "exact", 1, {"program": NOTHING})], "a regular expression has an automaton"),
    ([("header", "regex", 1, {"program": NOTHING})], None),
    ([("header", "regex", 1, {"program": NOTHING._replace(states=3)})], "another size"),
    ([("header", "regex", 1, {"program": NOTHING._replace(program=NOTHING.program[:-1])})], "another size"),
    ([("header", "regex", 1, {"program": (b"\1" + NOTHING.program[1:], 2, 1)})], "a byte of no class"),
    (
        [("header", "regex", 1, {"program": (NOTHING.program[:-2] + b"\2\0", 2, 1)})],
        "a state that there is not",
    ),
]


@pytest.mark.parametrize(("rows", "why"), TREES)
def test_a_condition_is_whole_with_what_is_in_it(rows, why):
    builder = tree(*[(condition, match, size, dict(more)) for condition, match, size, more in rows])
    if why is None:
        builder.finish().free()
    else:
        with pytest.raises(ProtokitError, match=rf"conditions\[0\]: .*{why}"):
            builder.finish()


@pytest.mark.parametrize(
    ("words", "values", "why"),
    [
        (2, joined(["a", "b"]), None),
        (1, joined([""]), None),
        (8, joined("abcdefgh"), None),
        (9, joined("abcdefghi"), "more than 8 words choose"),
        (2, joined(["a"]), "not one for each word"),
        (1, joined(["a", "b"]), "not one for each word"),
        (1, joined(["abc"])[:-1], "not one for each word"),
        (1, joined(["abc"])[:3], "not one for each word"),
        (1, b"\xff\xff\xff\xff", "not one for each word"),
        (1, b"", "not one for each word"),
    ],
)
def test_an_option_has_a_value_for_each_word(words, values, why):
    builder = TableBuilder(LIMITS, seed=1)
    builder.cluster("c", "round-robin", 1, 1000)
    builder.choice({f"h{i}": "" for i in range(words)}, {})
    builder.add("choice_options", values=values, cluster=0)
    if why is None:
        builder.finish().free()
    else:
        with pytest.raises(ProtokitError, match=rf"choices\[0\]: .*{why}"):
            builder.finish()


def places(members, name="", at=0):
    for member in members:
        if member.type.startswith("pk_") and member.type != "pk_text":
            yield from places(native.members(member.type)[1], f"{name}{member.name}.", at + member.at)
        else:
            yield name + member.name, at + member.at


def test_every_field_of_a_record_has_its_rule():
    for kind in KINDS:
        if not kind.fields:
            continue
        size, members = native.members(kind.type)
        assert size == kind.size
        assert [(field.name, field.at) for field in kind.fields] == [*places(members)]


def test_the_image_has_all_arrays_of_the_table():
    named = [member.name for member in HEADS if member.type == "pk_array"]
    assert [kind.name for kind in KINDS] == named[: len(KINDS)]
    assert named[len(KINDS) :] == MADE


# Models and records.


def model(name, fields):
    return msgspec.defstruct(name, fields, frozen=True)


def test_a_field_without_an_attribute_and_an_attribute_without_a_field_are_errors():
    right = model("Split", [("weight", int)])
    assert Source("splits", right, columns=("cluster", "choice")).attributes == {"weight": "weight"}
    with pytest.raises(ProtokitError, match="splits: pk_split.cluster is filled by nothing"):
        Source("splits", right, columns=("choice",))
    with pytest.raises(ProtokitError, match="splits: pk_split has no colour of Split"):
        Source("splits", model("Split", [("weight", int), ("colour", str)]), columns=("cluster", "choice"))
    Source(
        "splits",
        model("Split", [("weight", int), ("colour", str)]),
        columns=("cluster", "choice"),
        beside=("colour",),
    )
    with pytest.raises(ProtokitError, match="splits: pk_split has no kluster"):
        Source("splits", right, columns=("cluster", "choice", "kluster"))


def test_every_array_is_filled_by_what_runs():
    modules = [vars(module).values() for module in (packing, compiling, conditions, destinations, changes)]
    sources = [one for module in modules for one in module if isinstance(one, Source)]
    assert {one.array for one in sources} == {kind.name for kind in KINDS} - {"text"}


@pytest.mark.parametrize(
    "limits", [{**LIMITS, "colour": 1}, {k: v for k, v in LIMITS.items() if k != "frame"}]
)
def test_limits_are_all_that_the_engine_has_and_no_others(limits):
    with pytest.raises(ProtokitError, match=r"limits: (colour|frame): not both here and in pk_limits"):
        Image(limits, 1)


def test_columns_are_those_of_the_source_and_as_long_as_the_records():
    source = Source("splits")
    image = Image(LIMITS, 1)
    both = {"cluster": [0], "choice": [None]}
    for columns in ({}, {"cluster": [0]}, {**both, "weight": []}, {**both, "weight": [1, 2]}):
        with pytest.raises(
            ProtokitError, match=r"splits: columns are \['choice', 'cluster', 'weight'\], one value a record"
        ):
            image.add(source, [None], **columns)
    assert [
        image.add(source, [None] * 2, cluster=[0, 0], weight=[1, 1], choice=[None] * 2) for _ in range(2)
    ] == [0, 2]


def test_a_name_that_the_engine_has_not_is_an_error():
    builder = TableBuilder(LIMITS, seed=1)
    builder.cluster("c", "by-weather", 1, 1000)
    with pytest.raises(ProtokitError, match="'by-weather' is none of 'round-robin', 'least-request'"):
        builder.finish()


def test_the_same_records_make_the_same_image(wide):
    assert build(wide.address).image() == build(wide.address).image()


def test_a_table_of_an_image_routes(wide):
    world = World(table([wide.address], rules=[("svc", "m", 1), ("*", "*")], clusters=2))
    client = world.client()
    world.feed(client, wide.request(1, b"svc m x") + wide.request(2, b"svc n x"))
    assert sorted(port for up, (_, port) in world.upstreams.items() if world.got[up]) == [9000, 9041]
