"""The conformance kit on bolt and TR."""

from __future__ import annotations

import bolt_kit
import pytest
import tr_kit
from protokit_sofarpc import bolt
from protokit_sofarpc.tr import tr

from protokit.testing import conformance

TestBolt = conformance(bolt, **bolt_kit.KIT)
TestTr = pytest.mark.slow(conformance(tr, **tr_kit.KIT))
