"""Hypothesis's entry point, in fresh interpreters: nothing of protokit is imported by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protokit import Request, Response, Status, native, plugins
from protokit.model import Headers
from protokit.testing import requests

LOADED = """
import sys
import hypothesis
ours = {"protokit", "construct", "cffi", "pluggy"}
print(*sorted(name for name in sys.modules if name.split(".")[0] in ours))
"""
DRAWN = """
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protokit import Request

seen = set()

@settings(max_examples=60, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.from_type(Request))
def draw(request):
    assert request.frame or not request.protocol
    seen.add(request.protocol)

draw()
print(*sorted(seen))
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_hypothesis_loads_the_model_and_nothing_else():
    loaded = run(LOADED).split()
    assert "protokit.testing.entry" in loaded
    assert set(loaded) <= {"protokit", "protokit.model", "protokit.testing", "protokit.testing.entry"}


def test_requests_are_of_the_declared_protocols_that_are_installed():
    assert run(DRAWN, PROTOKIT_PLUGINS="motan") == "motan"
    known = plugins.load().protocols.values()
    declared = {one.name for one in known if one.wire.tier == "declared"}
    assert set() < set(run(DRAWN).split()) <= declared


def test_without_a_declared_protocol_requests_are_of_none():
    assert run(DRAWN, PROTOKIT_PLUGINS="dubbo") == ""


@given(st.from_type(Request))
def test_a_request_is_what_its_frame_says(request):
    if request.protocol == "bolt":
        from protokit_sofarpc import bolt

        again = native.request(bolt.wire.address, request.frame)
        for name in ("service", "method", "version", "group", "timeout_ms", "oneway"):
            assert getattr(again, name) == getattr(request, name)
        assert dict(again.headers) == dict(request.headers)


@given(st.data())
def test_requests_of_one_protocol(data):
    from protokit_sofarpc import bolt

    one = data.draw(requests(bolt))
    assert isinstance(one, Request)
    assert one.protocol == "bolt"


def test_requests_of_a_native_protocol_have_no_strategy():
    from protokit_dubbo import dubbo

    with pytest.raises(TypeError, match="dubbo is native"):
        requests(dubbo)


@given(st.from_type(Response), st.from_type(Headers))
def test_the_rest_of_the_model_has_strategies_too(response, headers):
    assert response.status > Status.APP_ERROR
    assert all(isinstance(value, str) for value in headers.values())
