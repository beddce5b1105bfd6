"""Does the kit see what is wrong? Mutants of each bundled codec, and the checks that kill them.

Nothing is drawn here: a mutant is killed by what the kit goes through, or not at all, whatever the seed and
the version of Hypothesis. ``pytest tests/meta -s`` prints which check kills which mutant. A protocol
is added with its name in ``NAMES``; what survives stands in ``SURVIVORS`` with the reason, nothing else may.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import named
from mutants import Shim, declared_mutants
from survivors import SURVIVORS

from protokit import Protocol, ProtokitError, WireFormat
from protokit.cli.subject import kit_of, plugin_of, protocol_named
from protokit.testing import conformance, vectors_of
from protokit.testing.cases import Cases

# Each with what its kit is given: a line here, and what survives stands in SURVIVORS.
NAMES = ("bolt", "hsf", "motan", "tr", "dubbo")
PROTOCOLS = {name: (protocol_named(name), kit_of(name, plugin_of(name)[1])) for name in NAMES}
# Besides, for what no bundled protocol has: ids that are byte strings.
KITS = {**PROTOCOLS, "hexed": (named.protocols()["hexed"], {"golden": named.golden("hexed")})}
DECLARED = [name for name, (one, _) in PROTOCOLS.items() if isinstance(one.wire, WireFormat)]
# In the order in which they are tried: first what finds most in the shortest time, last what takes longest.
FIRST = (
    "test_golden_vectors_mean_what_they_should",
    "test_a_frame_over_the_limit_is_refused",
    "test_errors_are_responses_that_say_why",
    "test_heartbeats_are_heartbeats_and_their_answers_are",
    "test_the_signal_to_go_elsewhere_is_understood",
    "test_the_short_cut_and_the_program_agree",
    "test_a_connection_may_begin_so",
    "test_capabilities_are_what_is_declared",
    "test_a_changed_header_changes_nothing_else",
    "test_nothing_is_read_behind_the_bytes_given",
    "test_spoiled_frames_are_read_refused_or_waited_for",
    "test_error_texts_of_any_length_and_script_make_whole_frames",
    "test_errors_tell_causes_apart",
    "test_a_rewritten_id_changes_nothing_else",
    "test_a_cut_frame_wants_more_and_says_how_much",
    "test_the_engine_says_what_the_declaration_says",
    "test_codecs_agree",
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
# Tried before all others: by the beginning of a mutant's name what kills it after much that cannot see it.
LIKELY = {
    "the context for replies lost": "test_every_error_reply_reaches_the_client",
    "too little room asked for replies": "test_error_texts_of_the_full_length_reach_the_client",
    "no header found by its key": "test_a_header_is_found_by_its_key",
    "edits of answers": "test_a_changed_header_of_an_answer_changes_nothing_else",
    "edits": "test_the_engine_changes_frames_as_the_declaration_does",
    "no drain": "test_the_engine_says_what_the_declaration_says",
    "no heartbeat": "test_the_engine_says_what_the_declaration_says",
    "the reply of": "test_the_engine_says_what_the_declaration_says",
    "no more bytes asked for": "test_the_short_cut_and_the_program_agree",
    "more bytes asked for": "test_a_cut_frame_wants_more_and_says_how_much",
    "one status for all errors": "test_errors_tell_causes_apart",
    "one status taken for another": "test_codecs_agree",
    "frames a byte longer": "test_codecs_agree",
    "the rest of a front": "test_the_front_of_a_frame_tells_what_the_whole_frame_does",
    "requests without a readable destination": "test_codecs_agree",
    "malformed frames waited for": "test_codecs_agree",
    "the caller's budget": "test_codecs_agree",
    "ids": "test_a_rewritten_id_changes_nothing_else",
    "the id written": "test_a_rewritten_id_changes_nothing_else",
    "the last": "test_a_rewritten_id_changes_nothing_else",
    "texts of errors cut": "test_error_texts_of_any_length_and_script_make_whole_frames",
    "a byte behind the given ones": "test_nothing_is_read_behind_the_bytes_given",
}


def checks(suite: object, what: str = "") -> list[str]:
    names = [name for name in dir(suite) if name.startswith("test_")]
    order = [*FIRST, *(name for name in names if name not in {*FIRST, *LAST}), *LAST]
    likely = next((check for begins, check in LIKELY.items() if what.startswith(begins)), "")
    return sorted(names, key=lambda name: (name != likely, order.index(name)))


@cache
def _vectors(name: str):
    small = [one for one in vectors_of(KITS[name][1]["golden"]) if len(one.data) < 2000]
    return small if len(small) < 60 else small[::2]


@cache
def _cases(name: str) -> Cases:
    """The same frames for all mutants of a protocol."""
    return Cases(KITS[name][0], [one.data for one in _vectors(name)])


REMEMBERED_MAX = 4096  # bytes of a frame
_read = {name: {} for name in KITS}


def _remembered(name: str, data: bytes):
    """What the right reference says of a frame: the same whoever asks."""
    known = _read[name]
    protocol, kit = KITS[name]
    read = protocol.wire.message if isinstance(protocol.wire, WireFormat) else kit["reference"]
    if len(data) > REMEMBERED_MAX:  # padded with all that may come
        return read(data)
    if data not in known:
        try:
            known[data] = read(data)
        except Exception as error:  # noqa: BLE001  # raised again below
            known[data] = error
    if isinstance(known[data], Exception):
        raise known[data]
    return known[data]


def suite_of(name: str, protocol: Protocol, *, examples: int = 0, reference: bool = True):
    """The kit on a protocol, which may be a mutant of that name.

    Args:
        reference: its reference in Python is the right one, so that what it says can be remembered.
    """
    kind = conformance(protocol, **{**KITS[name][1], "golden": _vectors(name), "examples": examples})
    kind.cases = _cases(name)
    if reference and not examples:  # what is drawn does not come again
        kind.readers = lambda _: {"reference": lambda data: _remembered(name, data)}
    return kind()


def shim_mutants(name: str, shim: Shim):
    protocol, _ = KITS[name]
    return shim.mutants(protocol, suite_of(name, protocol).has)


def killer(name: str, protocol: Protocol, what: str = "", examples: int = 0) -> str:
    """The first check that fails; empty when none does."""
    try:
        suite = suite_of(name, protocol, examples=examples)
    except ProtokitError as error:
        return f"refused: {error}"
    for check in checks(suite, what):
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


def all_mutants(name: str, shim: Shim):
    """(what is wrong, how to make it) of a protocol; the first of either source is its unmutated twin."""
    codecs = [(what, lambda one=one: one) for what, one in shim_mutants(name, shim)]
    programs = list(numbered(declared_mutants(KITS[name][0]))) if name in DECLARED else []
    return codecs, programs


def outcome(name: str, mutants, examples: int = 0) -> dict[str, str]:
    found = {}
    for what, make in mutants:
        try:
            protocol = make()
        except Exception as error:  # noqa: BLE001  # not even a program
            found[what] = f"refused: {error}"
        else:
            found[what] = killer(name, protocol, what, examples)
        print(f"{name}: {what}: {found[what] or 'survives'}")
    return found


def all_are_killed(name: str, mutants) -> None:
    """All but those that are listed as survivors, and the twin in front."""
    wrong = [(what, make) for what, make in mutants[1:] if what not in SURVIVORS[name]]
    survive = [what for what, by in outcome(name, wrong).items() if not by]
    assert len(wrong) > 20, f"only {len(wrong)} mutants of {name}"
    assert not survive, f"nothing kills: {survive}"
