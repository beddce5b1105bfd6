"""The conformance kit on protocols whose ids are byte strings."""

from __future__ import annotations

from named import golden, protocols

from protokit.testing import conformance

_ALL = protocols()
(
    TestHexed,
    TestSized,
    TestLined,
    TestBranched,
    TestUnique,
    TestVarints,
    TestFolded,
    TestMapped,
    TestHeaded,
    TestCorrelated,
    TestEnveloped,
    TestTagged,
    TestQuoted,
    TestNumbered,
    TestTold,
    TestPacked,
    TestOwn,
) = (conformance(protocol, golden=golden(name), examples=60) for name, protocol in _ALL.items())
