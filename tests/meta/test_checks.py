"""Every check of the kit can fail: each kills a mutant when it is alone."""

from __future__ import annotations

import pytest
from judging import KITS, PROTOCOLS, checks, shim_mutants, suite_of
from mutants import declared_mutants, is_the_reference, python_mutants
from survivors import SURVIVORS

from protokit import Protocol, WireFormat, native

pytestmark = pytest.mark.usefixtures("impatient")

# A mutant that the check kills when it is alone: every check of the kit can fail.
ALONE = {
    "test_golden_vectors_mean_what_they_should": "another id read",
    "test_capabilities_are_what_is_declared": "ids said not to be there",
    "test_a_cut_frame_wants_more_and_says_how_much": "no more bytes asked for than there are",
    "test_the_front_of_a_frame_tells_what_the_whole_frame_does": "the rest of a front told a byte longer",
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
    "test_captured_errors_are_what_the_codec_says": "replies a byte short",
    "test_the_reference_reads_what_the_codec_says": "errors are heartbeats",
    "test_errors_tell_causes_apart": "one status for all errors",
    "test_error_texts_of_any_length_and_script_make_whole_frames": "texts of errors cut at 128 bytes",
    "test_heartbeats_are_heartbeats_and_their_answers_are": "heartbeats without their id",
    "test_the_signal_to_go_elsewhere_is_understood": "drain signals that are heartbeats",
    "test_a_changed_header_changes_nothing_else": "edits that change nothing",
    "test_a_header_is_found_by_its_key": "no header found by its key",
    "test_a_changed_header_of_an_answer_changes_nothing_else": "edits of answers that change nothing",
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
    "test_the_engine_changes_frames_as_the_declaration_does": "edits that change nothing",
    "test_the_engine_says_what_the_declaration_says": "replies a byte short",
    "test_the_engines_own_ids_are_told_from_all_others": "the engine's own ids in another form",
}
# Checks that cannot see it alone: none of the bundled protocols' servers says an error as a proxy does, and
# motan's answers do not tell causes apart.
BLIND = {name: {"test_captured_errors_are_what_the_codec_says"} for name in PROTOCOLS}
BLIND["motan"].add("test_errors_tell_causes_apart")
# What a declaration changes there its reference does; the engine's changes have a check of their own.
for name in PROTOCOLS:
    if isinstance(KITS[name][0].wire, WireFormat):
        BLIND[name] |= {
            "test_a_changed_header_changes_nothing_else",
            "test_a_changed_header_of_an_answer_changes_nothing_else",
        }


def test_every_check_of_the_kit_is_named():
    assert set(ALONE) == {
        check for name, (protocol, _) in KITS.items() for check in checks(suite_of(name, protocol))
    }


@pytest.mark.slow
@pytest.mark.parametrize("check", ALONE)
def test_every_check_kills_a_mutant_alone(check, shim):
    found = []
    for name, (protocol, _) in KITS.items():
        if not hasattr(suite_of(name, protocol), check) or check in BLIND.get(name, ()):
            continue
        mutants = dict(shim_mutants(name, shim)) if name in PROTOCOLS else {}
        in_python = {}
        if isinstance(protocol.wire, WireFormat):
            in_python = dict(python_mutants(protocol))
            mutants |= {what: make for what, make in declared_mutants(protocol) if what == ALONE[check]}
        one = {**mutants, **in_python}.get(ALONE[check])
        if one is None or ALONE[check] in SURVIVORS.get(name, ()):
            continue
        if not isinstance(one, Protocol):
            one = one()
        right = ALONE[check] not in in_python
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever a check raises is its finding
            getattr(suite_of(name, one, reference=right), check)()
        found.append(f"{name}: {caught.value}")
    print(*found, sep="\n")
    assert found


def test_a_kit_that_asks_the_reference_twice_is_found_out(monkeypatch):
    bolt, _ = PROTOCOLS["bolt"]
    monkeypatch.setattr(native, "frame", is_the_reference(bolt.wire))
    for check in ("test_codecs_agree", "test_the_native_codec_runs"):
        with pytest.raises(AssertionError, match="the reference codec was asked"):
            getattr(suite_of("bolt", bolt), check)()
