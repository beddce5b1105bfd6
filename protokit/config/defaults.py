"""Every default of the configuration, each finite. docs/configuration.md lists the same; a test compares."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
SECOND = 1000

LIMITS = {
    "frame": 8 * MIB,
    "headers": 1024,
    "connections": 10_000,
    "in_flight": 65_536,
    "in_flight_per_connection": 1024,
    "filters": 1024,
    "buffer": 256 * MIB,
    "client_pause": 256 * KIB,
    "client_close": 16 * MIB,
    "upstream_buffer": 1 * MIB,
    "upstream_in_flight": 1024,
    "retry_buffer": 64 * KIB,
}
TIMEOUTS = {
    "request": 30 * SECOND,
    "connect": 1 * SECOND,
    "idle": 600 * SECOND,
    "frame": 10 * SECOND,
    "detect": 5 * SECOND,
    "heartbeat": 30 * SECOND,
    "probe": 5 * SECOND,
    "filter": 5 * SECOND,
}
DRAIN = {"delay": 5 * SECOND, "timeout": 30 * SECOND}
MAX_CONNECTIONS = 8
RETRY_ATTEMPTS = 2
WORKERS = 1
