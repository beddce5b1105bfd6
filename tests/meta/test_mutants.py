"""Does the kit see what is wrong? Mutants of each bundled codec, each killed by a named check.

``python -m pytest tests/meta -s`` prints which check kills which mutant. A protocol is added with its name in
``NAMES``; what survives stands in ``SURVIVORS`` with the reason, and nothing else may.
"""

from __future__ import annotations

from collections import Counter

import named
import pytest
from hypothesis import Phase
from mutants import Shim, declared_mutants, is_the_reference, python_mutants
from survivors import SURVIVORS

from protokit import Protocol, ProtokitError, WireFormat, native
from protokit.cli.subject import kit_of, plugin_of, protocol_named
from protokit.testing import conformance, proxied, vectors_of

# Each with what its kit is given: a line here, and what survives stands in SURVIVORS.
NAMES = ("bolt", "hsf", "motan", "tr", "dubbo")
PROTOCOLS = {name: (protocol_named(name), kit_of(name, plugin_of(name)[1])) for name in NAMES}
# Besides, for what no bundled protocol has: ids that are byte strings.
KITS = {**PROTOCOLS, "hexed": (named.protocols()["hexed"], {"golden": named.golden("hexed")})}
# In the order in which they are tried: first what finds most in the shortest time, last what takes longest.
FIRST = (
    "test_golden_vectors_mean_what_they_should",
    "test_capabilities_are_what_is_declared",
    "test_a_frame_over_the_limit_is_refused",
    "test_a_cut_frame_wants_more_and_says_how_much",
    "test_errors_are_responses_that_say_why",
    "test_heartbeats_are_heartbeats_and_their_answers_are",
    "test_a_changed_header_changes_nothing_else",
    "test_the_engine_says_what_the_declaration_says",
    "test_codecs_agree",
    "test_a_connection_may_begin_so",
    "test_a_rewritten_id_changes_nothing_else",
    "test_nothing_is_read_behind_the_bytes_given",
    "test_spoiled_frames_are_read_refused_or_waited_for",
)
LAST = (
    "test_any_segmentation_gives_the_same",
    "test_memory_is_bounded_by_what_arrived",
    "test_a_real_proxy_carries_it",
    "test_error_texts_of_the_full_length_reach_the_client",
    "test_every_error_reply_reaches_the_client",
    "test_oneway_requests_arrive_and_are_never_answered",
    "test_draining_is_told_and_listened_to",
    "test_heartbeats_go_both_ways",
)
# A mutant that the check kills when it is alone: every check of the kit can fail.
ALONE = {
    "test_golden_vectors_mean_what_they_should": "another id read",
    "test_capabilities_are_what_is_declared": "ids said not to be there",
    "test_a_cut_frame_wants_more_and_says_how_much": "no more bytes asked for than there are",
    "test_what_follows_a_frame_changes_nothing": "frames a byte longer",
    "test_nothing_is_read_behind_the_bytes_given": "a byte behind the given ones looked at",
    "test_spoiled_frames_are_read_refused_or_waited_for": "errors placed behind the bytes",
    "test_a_frame_over_the_limit_is_refused": "bound of the frame's size not checked",
    "test_a_connection_may_begin_so": "no connection recognised before 12 bytes",
    "test_any_segmentation_gives_the_same": "frames a byte longer",
    "test_codecs_agree": "one-way requests swallowed",
    "test_only_protocol_errors_escape": "a codec in Python that lets a KeyError out",
    "test_a_rewritten_id_changes_nothing_else": "the last byte changed with the id",
    "test_errors_are_responses_that_say_why": "error replies that do not say why",
    "test_errors_tell_causes_apart": "one status for all errors",
    "test_error_texts_of_any_length_and_script_make_whole_frames": "texts of errors cut at 128 bytes",
    "test_heartbeats_are_heartbeats_and_their_answers_are": "heartbeats without their id",
    "test_the_signal_to_go_elsewhere_is_understood": "drain signals that are heartbeats",
    "test_a_changed_header_changes_nothing_else": "edits that change nothing",
    "test_a_real_proxy_carries_it": "the last byte changed with the id",
    "test_every_error_reply_reaches_the_client": "error replies without their id",
    "test_error_texts_of_the_full_length_reach_the_client": "too little room asked for replies",
    "test_heartbeats_go_both_ways": "heartbeats answered with themselves",
    "test_oneway_requests_arrive_and_are_never_answered": "one-way requests swallowed",
    "test_draining_is_told_and_listened_to": "drain signals ignored",
    "test_memory_is_bounded_by_what_arrived": "memory taken that nothing was sent for",
    "test_what_it_has_can_be_said": "heartbeats without an answer declared",
    "test_golden_vectors_are_built_again_from_plain_values": "frames built with a byte behind them",
    "test_plain_values_make_the_round_trip": "frames built with a byte behind them",
    "test_values_of_the_wrong_kind_are_refused": "values of the wrong kind are a KeyError",
    "test_every_byte_of_a_frame_belongs_to_one_field": "a field is not explained",
    "test_every_branch_is_taken_both_ways": "branch 0 never taken",
    "test_the_short_cut_and_the_program_agree": "branch 0 never taken",
    "test_the_native_codec_runs": "branch 0 never taken",
    "test_the_engine_says_what_the_declaration_says": "replies a byte short",
    "test_the_engines_own_ids_are_told_from_all_others": "the engine's own ids in another form",
}
# Checks that cannot see it alone, since the protocol's answers do not tell causes apart.
BLIND = {"motan": {"test_errors_tell_causes_apart"}}


def checks(suite: object) -> list[str]:
    names = [name for name in dir(suite) if name.startswith("test_")]
    order = [*FIRST, *(name for name in names if name not in {*FIRST, *LAST}), *LAST]
    return sorted(names, key=order.index)


def suite_of(name: str, protocol: Protocol):
    _, kit = KITS[name]
    small = [one for one in vectors_of(kit["golden"]) if len(one.data) < 2000]
    small = small if len(small) < 60 else small[::2]
    suite = conformance(protocol, **{**kit, "golden": small, "examples": 60})()
    suite.settings = {"phases": [Phase.generate], "derandomize": True, "database": None}
    return suite


def shim_mutants(name: str, shim: Shim):
    protocol, _ = KITS[name]
    return shim.mutants(protocol, suite_of(name, protocol).has)


def killer(name: str, protocol: Protocol) -> str:
    """The first check that fails; empty when none does."""
    try:
        suite = suite_of(name, protocol)
    except ProtokitError as error:
        return f"refused: {error}"
    for check in checks(suite):
        try:
            getattr(suite, check)()
        except Exception:  # noqa: BLE001  # whatever a check raises is its finding
            return check
    return ""


def numbered(mutants):
    """Fields of several branches may share their name, and none hides behind another."""
    seen = Counter()
    for what, make in mutants:
        seen[what] += 1
        yield what if seen[what] == 1 else f"{what} ({seen[what]})", make


def outcome(name: str, mutants) -> dict[str, str]:
    found = {}
    for what, make in numbered(mutants):
        try:
            protocol = make()
        except Exception as error:  # noqa: BLE001  # not even a program
            found[what] = f"refused: {error}"
        else:
            found[what] = killer(name, protocol)
        print(f"{name}: {what}: {found[what] or 'survives'}")
    return found


def compare(name: str, found: dict[str, str]) -> None:
    """What survives is what is listed, and the twin is sound."""
    twin = next(iter(found))
    assert found.pop(twin) == "", f"the unmutated twin of {name} fails"
    survive = {what for what, by in found.items() if not by}
    listed = {what for what in SURVIVORS[name] if what in found}
    assert not survive - listed, f"nothing kills: {sorted(survive - listed)}"
    killed = {what: found[what] for what in listed - survive}
    assert not killed, f"killed, but listed as survivors: {killed}"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What does not come from a mutant never comes."""
    monkeypatch.setattr(proxied, "PATIENCE_S", 5)


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    return Shim(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.timeout(400)
def test_wrong_codecs_are_killed(name, shim):
    mutants = [(what, lambda one=one: one) for what, one in shim_mutants(name, shim)]
    found = outcome(name, mutants)
    assert len(found) > 40
    compare(name, found)


@pytest.mark.parametrize(
    "name", [name for name, (one, *_) in PROTOCOLS.items() if isinstance(one.wire, WireFormat)]
)
@pytest.mark.timeout(400)
def test_wrong_programs_are_killed(name):
    found = outcome(name, declared_mutants(PROTOCOLS[name][0]))
    assert len(found) > 30
    compare(name, found)


def test_every_check_of_the_kit_is_named():
    assert set(ALONE) == {
        check for name, (protocol, _) in KITS.items() for check in checks(suite_of(name, protocol))
    }


@pytest.mark.parametrize("check", ALONE)
def test_every_check_kills_a_mutant_alone(check, shim):
    found = []
    for name, (protocol, _) in KITS.items():
        if not hasattr(suite_of(name, protocol), check) or check in BLIND.get(name, ()):
            continue
        mutants = dict(shim_mutants(name, shim)) if name in PROTOCOLS else {}
        if isinstance(protocol.wire, WireFormat):
            mutants |= dict(python_mutants(protocol))
            mutants |= {what: make for what, make in declared_mutants(protocol) if what == ALONE[check]}
        one = mutants.get(ALONE[check])
        if one is None or ALONE[check] in SURVIVORS.get(name, ()):
            continue
        if not isinstance(one, Protocol):
            one = one()
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever a check raises is its finding
            getattr(suite_of(name, one), check)()
        found.append(f"{name}: {caught.value}")
    print(*found, sep="\n")
    assert found


def test_a_kit_that_asks_the_reference_twice_is_found_out(monkeypatch):
    bolt, _ = PROTOCOLS["bolt"]
    monkeypatch.setattr(native, "frame", is_the_reference(bolt.wire))
    for check in ("test_codecs_agree", "test_the_native_codec_runs"):
        with pytest.raises(AssertionError, match="the reference codec was asked"):
            getattr(suite_of("bolt", bolt), check)()
