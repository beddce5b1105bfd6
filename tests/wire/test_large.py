"""Of an answer over the limit a codec says whose it is and where it ends, as soon as that can be known."""

from __future__ import annotations

import bolt_kit
import dubbo_kit
import pytest
import tr_kit
from protokit_dubbo import dubbo
from protokit_sofarpc import bolt
from protokit_sofarpc.tr import tr

from protokit import native
from protokit.testing.golden import vectors_of

# No limit is below what stands in front of every frame (bolt v2 with its checksum has most).
FRONT = 26
ANSWERS = [
    (protocol, vector)
    for protocol, kit in ((dubbo, dubbo_kit), (bolt, bolt_kit), (tr, tr_kit))
    for vector in vectors_of(kit.KIT["golden"])
    if native.frame(protocol.wire.address, vector.data).kind == native.KIND_RESPONSE
    and len(vector.data) > FRONT
]


@pytest.mark.parametrize(
    ("protocol", "vector"), ANSWERS, ids=lambda one: getattr(one, "name", None) or type(one).__name__
)
def test_an_answer_over_the_limit(protocol, vector):
    codec, data = protocol.wire.address, vector.data
    whole = native.frame(codec, data)
    for end in range(1, len(data) + 1):
        over = native.frame(codec, data, whole.size - 1, end)
        assert over.result in {1, -3}
        if over.result == -3:
            break
    assert (over.kind, over.id) == (native.KIND_RESPONSE, whole.id)
    assert over.size == over.need == whole.size


def test_each_protocol_has_such_answers():
    assert {protocol.name for protocol, _ in ANSWERS} == {"dubbo", "bolt", "tr"}
