"""protokit.wire: what a plugin hands over, and that the engine looks at it before it uses it."""

from __future__ import annotations

import pytest

from protokit import NativeCodec, Protocol, native
from protokit.errors import PluginError


def test_a_protocol_says_its_tier():
    protocol = Protocol("mine", NativeCodec(1), "one line")
    assert (protocol.name, protocol.tier, protocol.description) == ("mine", "native", "one line")
    assert repr(protocol) == "Protocol('mine', native)"


def test_a_plugin_may_subclass_it(wide):
    class Mine(Protocol):
        def __init__(self) -> None:
            super().__init__("mine", NativeCodec(wide.address, wide))

    assert (Mine().name, Mine().tier) == ("mine", "native")
    native.check_codec(Mine().wire.address, "mine")


def test_a_codec_keeps_what_it_lives_in_alive(wide):
    assert NativeCodec(wide.address, wide).keepalive is wide


def test_no_codec_is_refused():
    with pytest.raises(PluginError, match="codec of protocol 'mine' cannot be used: its address is 0"):
        native.check_codec(0, "mine")
