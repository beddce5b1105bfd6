"""Thrift's forms of frames do what every protocol has to do."""

from pathlib import Path

import pytest
from protokit_thrift import binary, compact, dubbo, header

from protokit.testing import conformance

GOLDEN = Path(__file__).parent / "golden"

TestBinary = conformance(binary(), golden=GOLDEN / "thrift")
TestCompact = conformance(compact(), golden=GOLDEN / "thrift-compact")
TestHeader = conformance(header(), golden=GOLDEN / "thrift-header")
TestDubbo = conformance(dubbo(), golden=GOLDEN / "dubbo-thrift")
TestBinaryById = conformance(binary("thrift-by-id", mode="multiplexed"), golden=GOLDEN / "thrift")
# The same frames under ids once more: what the ids change is seen with one form.
TestDubboById = pytest.mark.slow(
    conformance(dubbo("dubbo-thrift-by-id", mode="multiplexed"), golden=GOLDEN / "dubbo-thrift")
)
TestCompactById = pytest.mark.slow(
    conformance(compact("thrift-compact-by-id", mode="multiplexed"), golden=GOLDEN / "thrift-compact")
)
