"""Both names of baidu_std do what every protocol has to do."""

import brpc_kit
import jprotobuf_kit
import pytest
from protokit_brpc import brpc, jprotobuf

from protokit.testing import conformance

TestBrpc = conformance(brpc, **brpc_kit.KIT)
# The same functions, in a dialect.
TestJprotobuf = pytest.mark.slow(conformance(jprotobuf, **jprotobuf_kit.KIT))
