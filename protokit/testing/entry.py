"""Hypothesis's entry point: ``from_type(Request)`` works in every environment that has protokit.

It is loaded whenever Hypothesis is, so it imports the model and nothing else; plugins and the engine are
loaded when a strategy is asked for.
"""

from __future__ import annotations

from hypothesis import strategies as st

from protokit.model import Headers, Request, Response, Status


def register() -> None:
    """Tell Hypothesis how to make what the public API names."""
    st.register_type_strategy(Request, _requests)
    st.register_type_strategy(
        Response,
        st.builds(Response, st.sampled_from([one for one in Status if one > 1]), st.text(max_size=99)),
    )
    st.register_type_strategy(Headers, st.builds(Headers, st.dictionaries(st.text(), st.text(), max_size=5)))


def _requests(kind: type[Request]) -> st.SearchStrategy[Request]:  # noqa: ARG001  # Hypothesis gives it
    from protokit.testing.strategies import requests  # noqa: PLC0415  # see above

    return requests()
