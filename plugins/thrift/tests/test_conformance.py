"""Thrift's forms of frames do what every protocol has to do."""

from pathlib import Path

import pytest
from protokit_thrift import binary, compact, dubbo, header

from protokit.testing import conformance

GOLDEN = Path(__file__).parent / "golden"

TestBinary = conformance(binary(), golden=GOLDEN / "thrift")
# What these have of their own test_thrift.py tries, too; behind them the same frames under ids once more.
TestHeader = pytest.mark.slow(conformance(header(), golden=GOLDEN / "thrift-header"))
TestCompact = pytest.mark.slow(conformance(compact(), golden=GOLDEN / "thrift-compact"))
TestDubbo = pytest.mark.slow(conformance(dubbo(), golden=GOLDEN / "dubbo-thrift"))
TestBinaryById = pytest.mark.slow(
    conformance(binary("thrift-by-id", mode="multiplexed"), golden=GOLDEN / "thrift")
)
TestDubboById = pytest.mark.slow(
    conformance(dubbo("dubbo-thrift-by-id", mode="multiplexed"), golden=GOLDEN / "dubbo-thrift")
)
TestCompactById = pytest.mark.slow(
    conformance(compact("thrift-compact-by-id", mode="multiplexed"), golden=GOLDEN / "thrift-compact")
)
