"""protokit.errors: the tree, and what a person reads."""

from __future__ import annotations

import pytest

from protokit import errors
from protokit.errors import ConfigError, ConfigErrors, PluginError, ProtokitError, RemoteProtocolError


def test_the_tree_is_the_documented_one():
    parents = {
        "ConfigError": "ProtokitError",
        "ConfigErrors": "ConfigError",
        "PluginError": "ProtokitError",
        "DeclarationError": "ProtokitError",
        "ProtocolError": "ProtokitError",
        "LocalProtocolError": "ProtocolError",
        "RemoteProtocolError": "ProtocolError",
        "RoutingError": "ProtokitError",
        "UpstreamError": "ProtokitError",
        "ProtokitError": "Exception",
    }
    classes = [one for one in vars(errors).values() if isinstance(one, type)]
    assert {one.__name__: one.__base__.__name__ for one in classes} == parents


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("bad", "c.yaml", 3, 7), "c.yaml:3:7: bad"),
        (ConfigError("bad", "c.yaml"), "c.yaml: bad"),
        (ConfigError("bad"), "bad"),
        (PluginError("bad", "dubbo"), "plugin 'dubbo': bad"),
        (PluginError("bad"), "bad"),
        (RemoteProtocolError("bad", 5), "at byte 5: bad"),
    ],
)
def test_messages_say_where(error, text):
    assert str(error) == text
    assert isinstance(error, ProtokitError)


def test_several_mistakes_stand_in_the_order_of_the_file():
    several = ConfigErrors(
        [ConfigError("c", "f", 10, 1), ConfigError("b", "f", 2, 9), ConfigError("a", "f", 2, 1)]
    )
    assert str(several) == "f:2:1: a\nf:2:9: b\nf:10:1: c"
    assert (several.line, several.column) == (2, 1)
