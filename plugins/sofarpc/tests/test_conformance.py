"""The conformance kit on bolt and TR."""

from __future__ import annotations

import bolt_kit
import pytest
import tr_kit
from protokit_sofarpc import bolt
from protokit_sofarpc.tr import tr

from protokit.testing import conformance

# Of the two this one takes long: its vectors are many, and all ways through its declaration are gone.
TestBolt = pytest.mark.slow(conformance(bolt, **bolt_kit.KIT))
TestTr = conformance(tr, **tr_kit.KIT)
