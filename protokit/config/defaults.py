"""Every default of the configuration, each finite, and the range of every number in it.

docs/configuration.md lists the same; a test compares.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SECOND = 1000
HOUR = 3600 * SECOND

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
OUTLIER = {"errors": 5, "eject": 10 * SECOND, "most": 500_000}  # most: parts of a million
SLOW_START_LEAST = 100_000  # parts of a million
PREFER_HEALTHY = 700_000
PANIC = 500_000  # parts of a million, where endpoints are judged
HEALTH = {"timeout": 1 * SECOND, "unhealthy": 3, "healthy": 2}
RETRY_ATTEMPTS = 2
CONSISTENT = ("ring-hash", "maglev")  # a key says where a request goes
LIMIT_KEYS = 1024
LIMIT_KEYS_IN_ALL = 1 << 24  # 32 bytes each
LIMIT_KEYS_OF_ONE_ASKED = 5  # what a limiter said of it takes 128 more
RETRY_BACKOFF = {"base": 10, "max": 200}
RETRY_BUDGET = 200_000  # parts of a million
FILTER = {"errors": 0, "off": 30 * SECOND}
ADAPTIVE_LEAST = 16
HEDGE_MOST = 50_000  # parts of a million
MIRROR_SHARE = 1_000_000  # parts of a million: all
MIRROR_MOST = 100
FAULT_SHARE = 1_000_000  # millionths: all
FAULT_ASKED_MOST = 5 * SECOND
WORKERS = 1

# From the least to the most; bytes, milliseconds, counts.
RANGES = {
    "workers": (1, 64),
    "limits.frame": (KIB, 512 * MIB),
    "limits.headers": (1, 65_536),
    "limits.connections": (1, 1_000_000),
    "limits.in_flight": (1, 10_000_000),
    "limits.in_flight_per_connection": (1, 1_000_000),
    "limits.buffer": (MIB, 1024 * GIB),
    "limits.client_pause": (KIB, 512 * MIB),
    "limits.client_close": (KIB, 512 * MIB),
    "limits.upstream_buffer": (KIB, 512 * MIB),
    "limits.upstream_in_flight": (1, 4096),
    "limits.retry_buffer": (1, 512 * MIB),
    "limits.filters": (1, 1_000_000),
    "timeouts.request": (1, 480 * HOUR),
    "timeouts.connect": (1, HOUR),
    "timeouts.idle": (1, 480 * HOUR),
    "timeouts.frame": (1, HOUR),
    "timeouts.detect": (1, HOUR),
    "timeouts.heartbeat": (1, HOUR),
    "timeouts.probe": (1, HOUR),
    "timeouts.filter": (1, HOUR),
    "drain.delay": (0, HOUR),
    "drain.timeout": (0, 480 * HOUR),
    "routes.rules.timeout.default": (1, 480 * HOUR),
    "routes.rules.timeout.most": (1, 480 * HOUR),
    "routes.rules.retry.attempts": (1, 10),
    "routes.rules.limit.burst": (1, 1_000_000),
    "routes.rules.limit.keys": (1, 1_000_000),
    "routes.rules.mirror.most": (1, 100_000),
    "routes.rules.retry.per_try": (1, 480 * HOUR),
    "routes.rules.retry.backoff.base": (0, HOUR),
    "routes.rules.retry.backoff.max": (0, HOUR),
    "routes.rules.fault.delay.fixed": (1, HOUR),
    "routes.rules.fault.asked.most": (1, HOUR),
    "routes.rules.split.weight": (0, 2**32 - 1),
    "clusters.endpoints.weight": (0, 2**32 - 1),
    "clusters.max_connections": (1, 1024),
    "clusters.outlier.errors": (0, 1_000_000),
    "clusters.outlier.eject": (1, HOUR),
    "clusters.connect_timeout": (1, HOUR),
    "listeners.filters.errors": (0, 1_000_000),
    "listeners.filters.off": (1, HOUR),
    "routes.rules.filters.errors": (0, 1_000_000),
    "routes.rules.filters.off": (1, HOUR),
    "clusters.filters.errors": (0, 1_000_000),
    "clusters.filters.off": (1, HOUR),
    "clusters.breaker.connections": (1, 1_000_000),
    "clusters.breaker.waiting": (1, 1_000_000),
    "clusters.breaker.requests": (1, 1_000_000),
    "clusters.breaker.adaptive.least": (1, 1_000_000),
    "clusters.breaker.endpoint.connections": (1, 1_000_000),
    "clusters.breaker.endpoint.requests": (1, 1_000_000),
    "clusters.slow_start.time": (1, HOUR),
    "clusters.health.connect": (10, HOUR),
    "clusters.health.heartbeat": (10, HOUR),
    "clusters.health.call": (10, HOUR),
    "clusters.health.timeout": (1, HOUR),
    "clusters.health.unhealthy": (1, 1000),
    "clusters.health.healthy": (1, 1000),
}
