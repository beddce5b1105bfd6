"""For tests of a bridge without sockets: its limits, and a transport."""

from __future__ import annotations

LIMITS = {"buffer": 64 << 20, "frame": 1 << 20, "frame_ms": 1000}


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.reading = True
        self.closed = ""

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return bool(self.closed)

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True

    def write_eof(self):
        self.written += b"EOF"

    def close(self):
        self.closed = self.closed or "close"

    def abort(self):
        self.closed = "abort"

    def get_extra_info(self, name):
        return None
