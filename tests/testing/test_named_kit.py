"""The conformance kit on protocols whose ids are byte strings."""

from __future__ import annotations

import fewer
import pytest
from named import golden, protocols

from protokit.testing import conformance

if fewer.slow:
    globals().update(
        {
            f"Test{name.title()}": pytest.mark.slow(conformance(protocol, golden=golden(name), examples=60))
            for name, protocol in protocols().items()
        }
    )
