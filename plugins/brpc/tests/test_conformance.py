"""Both names of baidu_std do what every protocol has to do."""

import brpc_kit
import jprotobuf_kit
from protokit_brpc import brpc, jprotobuf

from protokit.testing import conformance

TestBrpc = conformance(brpc, **brpc_kit.KIT)
TestJprotobuf = conformance(jprotobuf, **jprotobuf_kit.KIT)
