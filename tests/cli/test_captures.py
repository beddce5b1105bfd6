"""``protokit decode`` of captures: good ones, damaged ones, and what is kept of many."""

from __future__ import annotations

import random
import struct

import decoding
import pytest
from captures import (
    ACK,
    CLIENT,
    FIN,
    LINKS,
    SECOND,
    SERVER,
    SYN,
    Talk,
    decode_capture,
    ids,
    kind_of,
    pcap,
    pcapng,
    tcp,
)
from decoding import BOLT, BOLT_ANSWER, DUBBO, DUBBO_ANSWER, dubbo, frames, rows, run
from hypothesis import given, settings
from hypothesis import strategies as st

from protokit import plugins
from protokit.cli import capture
from protokit.errors import ProtokitError

loaded_once = decoding.loaded_once


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("link", LINKS)
def test_every_link_type_byte_order_and_resolution(link, order, nano):
    talk = Talk()
    talk.say(dubbo(1))
    talk.now += 123
    talk.answer(DUBBO_ANSWER)
    result = decode_capture(pcap(talk.packets, link=link, order=order, nano=nano))
    assert result.exit_code == 0, result.output
    request, answer = rows(result)
    assert (request["src"], request["dst"], request["id"]) == ("10.0.0.1:40000", "10.0.0.2:12200", "1")
    assert (answer["src"], answer["status"], answer["connection"]) == ("10.0.0.2:12200", "OK", 1)
    assert request["time"] == "2023-11-14T22:13:20.003000000Z"
    assert answer["time"] == f"2023-11-14T22:13:20.004000{123 if nano else 0:03d}Z"


def test_ipv6_with_an_extension_header_and_vlan_tags():
    talk = Talk(("fe80::1", 1), ("fe80::2", 2))
    talk.say(dubbo(1))
    tagged = pcap(
        talk.packets,
        wrap=lambda packet: bytes(12) + b"\x88\xa8\0\1\x81\0\0\2" + kind_of(packet) + packet + b"padding",
    )
    for data in (pcap(talk.packets), pcap(talk.packets, link=0), pcap(talk.packets, link=276), tagged):
        (row,) = rows(decode_capture(data))
        assert (row["src"], row["dst"]) == ("[fe80::1]:1", "[fe80::2]:2")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [3, 6, 9])
def test_pcapng_with_two_interfaces(order, resolution):
    talk = Talk()
    for number in range(4):
        talk.say(dubbo(number))
    result = decode_capture(pcapng(talk.packets, order=order, resolution=resolution))
    assert result.exit_code == 0, result.output
    assert ids(result) == ["0", "1", "2", "3"]
    assert {row["time"][:23] for row in rows(result)} == {f"2023-11-14T22:13:20.00{i}" for i in (3, 4, 5, 6)}


@pytest.mark.parametrize("size", [1, 7, 100, 1460])
def test_frames_straddle_packets(size):
    talk = Talk()
    talk.say(b"".join(map(dubbo, range(6))), size)
    talk.answer(DUBBO_ANSWER * 3, size)
    result = decode_capture(pcap(talk.packets))
    assert ids(result) == list("012345")
    assert [row["offset"] for row in frames(result)][:6] == [i * len(DUBBO) for i in range(6)]
    assert len(frames(result)) == 9


def test_the_time_of_a_frame_is_its_last_bytes():
    talk = Talk()
    talk.put(CLIENT, dubbo(1)[:50])
    talk.put(CLIENT, dubbo(1)[50:] + dubbo(2)[:10])
    talk.put(CLIENT, dubbo(2)[10:])
    assert [row["time"][20:23] for row in rows(decode_capture(pcap(talk.packets)))] == ["004", "005"]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("start", [1000, 2**32 - 700])
def test_reordered_retransmitted_overlapping_segments(seed, start):
    chance = random.Random(seed)
    stream = b"".join(map(dubbo, range(12)))
    pieces = []
    at = 0
    while at < len(stream):
        end = min(at + chance.randint(1, 300), len(stream))
        back = chance.randint(0, min(at, 80))
        pieces.append((at - back, stream[at - back : end]))
        if chance.random() < 0.4:
            pieces.append((at, stream[at : end + chance.randint(0, 50)]))
        at = end
    chance.shuffle(pieces)
    talk = Talk(seq=start)
    packets = talk.packets + [
        (talk.now + i, tcp(CLIENT, SERVER, start + 1 + at, data)) for i, (at, data) in enumerate(pieces)
    ]
    result = decode_capture(pcap(packets))
    assert result.exit_code == 0, result.output
    assert rows(result) == frames(result)
    assert ids(result) == [str(i) for i in range(12)]


def test_two_connections_of_two_protocols_at_once():
    one, two = Talk(), Talk(("10.0.0.9", 555), SERVER)
    one.say(dubbo(1) + dubbo(2), 60)
    two.say(BOLT, 60)
    two.answer(BOLT_ANSWER, 60)
    mixed = [packet for pair in zip(one.packets, two.packets, strict=False) for packet in pair]
    mixed += one.packets[len(two.packets) :] + two.packets[len(one.packets) :]
    result = decode_capture(pcap(mixed))
    found = {(row["connection"], row["src"], row["protocol"], row["kind"]) for row in rows(result)}
    assert found == {
        (1, "10.0.0.1:40000", "dubbo", "request"),
        (2, "10.0.0.9:555", "bolt", "request"),
        (2, "10.0.0.2:12200", "bolt", "response"),
    }


def test_the_same_addresses_again_are_another_connection():
    one, two = Talk(), Talk(seq=900_000, ack=77)
    one.say(dubbo(1) + dubbo(2)[:30])
    two.say(dubbo(3))
    result = decode_capture(pcap(one.packets + two.packets))
    assert [(row["record"], row["connection"], row["offset"]) for row in rows(result)] == [
        ("frame", 1, 0),
        ("unfinished", 1, len(DUBBO)),
        ("frame", 2, 0),
    ]


def lossy(*, late: bool) -> list[tuple[int, bytes]]:
    """Frames 0 to 9, one a packet; of 4 the last 100 bytes and of 5 the first 20 are missing."""
    talk = Talk()
    for number in range(10):
        data = dubbo(number)
        if number == 4:
            talk.put(CLIENT, data[:-100])
            talk.ends[CLIENT] += 100 + 20
            continue
        talk.put(CLIENT, data[20:] if number == 5 else data)
        talk.now += 2 * SECOND if late else 0
        talk.put(SERVER)
    return talk.packets


@pytest.mark.parametrize("late", [False, True])
def test_lost_bytes_are_a_gap_and_it_goes_on(late):
    result = decode_capture(pcap(lossy(late=late)))
    assert result.exit_code == 0, result.output
    found = rows(result)
    size = len(DUBBO)
    assert ids(result) == ["0", "1", "2", "3", "6", "7", "8", "9"]
    (gap,) = [row for row in found if row["record"] == "gap"]
    assert (gap["offset"], gap["size"], gap["src"]) == (5 * size - 100, 120, "10.0.0.1:40000")
    (cut,) = [row for row in found if row["record"] == "unfinished"]
    assert (cut["offset"], cut["size"], cut["need"]) == (4 * size, size - 100, size)
    (skipped,) = [row for row in found if row["record"] == "skipped"]
    assert (skipped["offset"], skipped["size"]) == (5 * size + 20, size - 20)
    assert found[-1]["offset"] == 9 * size
    text = run(data=pcap(lossy(late=late))).stdout
    assert (
        f"-- 10.0.0.1:40000 -> 10.0.0.2:12200: at byte {5 * size - 100}: 120 bytes were not captured\n"
        in text
    )


def test_an_acknowledged_hole_is_not_waited_for_to_the_end():
    talk = Talk()
    talk.put(CLIENT, dubbo(0))
    talk.ends[CLIENT] += 50
    talk.put(CLIENT, dubbo(1))
    talk.now += 2 * SECOND
    talk.put(SERVER, DUBBO_ANSWER)
    talk.put(SERVER, DUBBO_ANSWER)
    order = [(row["record"], row["src"][:8]) for row in rows(decode_capture(pcap(talk.packets)))]
    client, server = "10.0.0.1", "10.0.0.2"
    assert order == [
        ("frame", client),
        ("frame", server),
        ("gap", client),
        ("frame", client),
        ("frame", server),
    ]


def test_the_end_of_a_stream_may_be_missing_too():
    talk = Talk()
    talk.say(dubbo(1))
    talk.ends[CLIENT] += 40
    talk.put(CLIENT, flags=FIN | ACK)
    assert [row["record"] for row in rows(decode_capture(pcap(talk.packets)))] == ["frame", "gap"]


def test_the_number_that_a_fin_takes_is_no_byte():
    talk = Talk()
    talk.say(dubbo(1))
    for flags in (FIN | ACK, ACK):
        talk.put(CLIENT, flags=flags)
        talk.put(SERVER, flags=flags)
    assert [row["record"] for row in rows(decode_capture(pcap(talk.packets)))] == ["frame"]


def test_packets_that_were_kept_in_part():
    talk = Talk()
    for number in range(3):
        talk.say(dubbo(number))
    packets = [(time, packet[:100] if i == 3 else packet) for i, (time, packet) in enumerate(talk.packets)]
    found = rows(decode_capture(pcap(packets)))
    assert [row["record"] for row in found] == ["frame", "unfinished", "gap", "frame"]
    assert found[2]["size"] == len(DUBBO) - 60


def test_a_capture_that_begins_within_a_connection():
    talk = Talk(opened=False)
    talk.say(dubbo(0)[33:] + dubbo(1) + dubbo(2))
    talk.answer(DUBBO_ANSWER)
    found = rows(decode_capture(pcap(talk.packets)))
    assert [row["record"] for row in found] == ["skipped", "frame", "frame", "frame"]
    assert found[0]["why"] == "the capture begins within the connection"


def test_other_traffic_is_passed_over():
    web, talk = Talk(("10.0.0.7", 1), ("10.0.0.8", 80)), Talk()
    web.say(b"GET / HTTP/1.1\r\n\r\n" * 100)
    talk.say(dubbo(1))
    udp = (talk.now, bytes([0x45, 0, 0, 28]) + bytes(5) + b"\x11" + bytes(18))
    fragment = (talk.now, bytearray(tcp(CLIENT, SERVER, 1)))
    fragment[1][6] = 0x20
    data = pcap([*web.packets, udp, fragment, *talk.packets])
    result = decode_capture(data)
    assert result.exit_code == 0
    assert [row["record"] for row in rows(result)] in (["skipped", "frame"], ["frame", "skipped"])
    assert "fragments of IP packets, which are not put together: 1" in result.stderr
    (skipped,) = [row for row in rows(result) if row["record"] == "skipped"]
    assert (skipped["offset"], skipped["size"]) == (0, 1800)
    alone = decode_capture(pcap(web.packets))
    assert alone.exit_code == 1
    tried = ", ".join(sorted(plugins.load().protocols))
    assert f"and no frame in them ({tried} tried)" in alone.stderr


def test_wrong_bytes_in_a_connection_that_was_known():
    talk = Talk()
    talk.say(dubbo(1) + b"garbage" + dubbo(2))
    result = decode_capture(pcap(talk.packets))
    assert result.exit_code == 1
    assert f"10.0.0.1:40000 -> 10.0.0.2:12200: at byte {len(DUBBO)}: 67 61 72" in result.stderr
    assert ids(result) == ["1", "2"]


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_capture_that_is_cut_off_gives_what_it_has(form):
    talk = Talk()
    talk.say(b"".join(map(dubbo, range(5))), 50)
    whole = form(talk.packets)
    seen = set()
    for end in range(len(whole) - 1, 24, -37):
        result = decode_capture(whole[:end])
        seen.add(len(frames(result)))
        assert result.exit_code == 1 or len(frames(result)) > 0
        if result.exit_code and "cut off" in result.stderr:
            assert f"the capture is cut off at byte {end}: " in result.stderr
    assert {0, 1, 2, 3, 4} <= seen <= {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"\xd4\xc3\xb2\xa1\2\0",
            "the capture is cut off at byte 6: the file's header at byte 4 takes 20 bytes, 2 are",
        ),
        (
            pcap([])[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1),
            "at byte 32: a packet of 1073741824 bytes seen",
        ),
        (pcap([]), "0 TCP segments, and no frame in them"),
        (pcapng([])[:8] + b"\1\2\3\4", "at byte 8: 01 02 03 04 seen, 1a 2b 3c 4d expected"),
        (pcapng([], blocks=struct.pack("<II", 6, 13)), "a block of 13 bytes seen, a multiple of 4 from 12"),
        (
            pcapng([], blocks=struct.pack("<III", 6, 12, 16)),
            "seen, the block's length 0c 00 00 00 again expected",
        ),
        (pcapng([], blocks=struct.pack("<III", 6, 12, 12)), "a block of type 6 seen that is too short"),
        (
            pcap([(0, b"")], link=147, wrap=lambda packet: b"abc"),
            "packets of link type 147, which is not read: 1",
        ),
        (
            pcap(
                [(0, b"")],
                link=101,
                wrap=lambda packet: bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0]),
            ),
            "packets cut off before the end of its headers: 1",
        ),
    ],
)
def test_damaged_captures_say_where(data, says):
    result = decode_capture(data)
    assert result.exit_code == 1
    assert says in result.stderr, result.stderr


def test_no_capture_where_one_was_promised():
    result = run("--input", "pcap", data=b"hello")
    assert result.exit_code == 1
    assert "at byte 0: 68 65 6c 6c seen, the magic number of pcap or pcapng expected" in result.stderr


@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_capture_never_ends_in_a_trace(data):
    talk = Talk()
    talk.say(dubbo(1) + BOLT, 200)
    talk.answer(DUBBO_ANSWER)
    whole = bytearray(data.draw(st.sampled_from([pcap, pcapng]))(talk.packets))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert decode_capture(bytes(whole)).exit_code in {0, 1}


# Bounds.


def test_memory_behind_a_hole_is_bounded():
    streams = capture.Streams()
    held = []

    def packets():
        yield capture.Packet(0, 101, tcp(CLIENT, SERVER, 0, flags=SYN))
        for i in range(3000):
            yield capture.Packet(i, 101, tcp(CLIENT, SERVER, 100 + 1400 * i, bytes(1400)))
            held.append(streams._connections[CLIENT, SERVER].size())

    events = list(streams.read(packets()))
    assert isinstance(events[0], capture.Gap)
    assert max(held) <= 1.2 * (1 << 20)
    assert sum(len(event.data) for event in events if isinstance(event, capture.Data)) == 3000 * 1400


def test_the_connections_that_are_followed_are_bounded(monkeypatch):
    monkeypatch.setattr(capture, "_CONNECTIONS", 10)
    streams = capture.Streams()
    packets = (capture.Packet(i, 101, tcp((f"10.1.0.{i}", i + 1), SERVER, 0, b"x")) for i in range(100))
    ended = [event.flow.connection for event in streams.read(packets) if isinstance(event, capture.End)]
    assert ended == [number for number in range(1, 91) for _ in range(2)]
    assert len(list(streams.end())) == 20


def test_what_the_reader_keeps_counts(monkeypatch):
    monkeypatch.setattr(capture, "_MEMORY", 10_000)
    streams = capture.Streams()
    packets = (capture.Packet(i, 101, tcp((f"10.1.0.{i}", i + 1), SERVER, 0, b"x")) for i in range(100))
    open_flows = 0
    for event in streams.read(packets):
        if isinstance(event, capture.Data):
            event.flow.held = 2000
            open_flows += 1
        elif event.flow.held:
            event.flow.held = 0
            open_flows -= 1
        assert open_flows <= 6


def test_packets_says_that_it_is_no_capture():
    import io

    with pytest.raises(ProtokitError, match="at byte 0"):
        capture.packets(io.BytesIO(b"nope"))
