"""Mutants of the plugin sofarpc's codec."""

from __future__ import annotations

from engine.mutant import Mutant

MUTANTS = (
    Mutant(
        "an error's text counts a pair as one",
        "tr.c",
        "      units += 2;",
        "      units++;",
        "plugins/sofarpc/tests/test_tr.py::test_an_error_is_a_connection_response_that_finds_its_request",
        "sofarpc",
    ),
    Mutant(
        "an error is always in the older dialect",
        "tr.c",
        "(reply->context & 0xff) == HESSIAN_DRAFT ? HESSIAN_DRAFT : HESSIAN1;",
        "HESSIAN1;",
        "plugins/sofarpc/tests/test_tr.py::test_an_error_is_a_connection_response_that_finds_its_request",
        "sofarpc",
    ),
)
