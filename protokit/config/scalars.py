"""The scalar types of the configuration: durations, sizes, addresses, patterns. Each reads text."""

from __future__ import annotations

import re
import socket

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_UNITS_BYTES = {
    "": 1,
    "B": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
}


def _written(value: int, units: dict[str, int], smallest: str) -> str:
    """In the largest unit that leaves a whole number."""
    unit = max(
        (unit for unit in units if value and value % units[unit] == 0),
        key=units.__getitem__,
        default=smallest,
    )
    return f"{int(value) // units[unit]}{unit}"


class Duration(int):
    """Milliseconds, written like ``500ms``, ``5s``, ``1.5s``, ``10m``, ``1h``."""

    expected = "a duration like 500ms, 5s or 10m"
    pattern = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError where ``text`` is none, or over 24 days."""
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h)", text)
        if match is None:
            raise ValueError(f"expected {cls.expected}")
        value = round(float(match[1]) * _UNITS_MS[match[2]])
        if value >= 2**31:
            raise ValueError("expected a duration under 24 days")
        return cls(value)

    def __str__(self) -> str:
        return _written(self, _UNITS_MS, "ms")


class Rate(str):
    """So many in a time, written like ``100/s``, ``5/m``, ``1000/h``."""

    __slots__ = ()
    expected = "a rate like 100/s, 5/m or 1000/h"
    pattern = r"^[0-9]+/(s|m|h)$"

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Raises ValueError where ``text`` is none, or over a million a second."""
        match = re.fullmatch(r"([0-9]{1,10})/(s|m|h)", text)
        if match is None or int(match[1]) == 0:
            raise ValueError(f"expected {cls.expected}")
        if int(match[1]) * 1000 > 10**6 * _UNITS_MS[match[2]]:
            raise ValueError("expected a rate of 1000000/s at most")
        return cls(text)

    @property
    def interval(self) -> int:
        """From one to the next, ns, rounded up."""
        count, unit = self.split("/")
        return -(-_UNITS_MS[unit] * 10**6 // int(count))

    @property
    def in_a_second(self) -> int:
        """How many come in a second; one at least."""
        count, unit = self.split("/")
        return max(1, int(count) * 1000 // _UNITS_MS[unit])


class Times(int):
    """So many times something, written like ``3x``, ``1.5x``; thousandths."""

    expected = "how many times, like 3x or 1.5x"
    pattern = r"^[0-9]+(\.[0-9]+)?x$"

    @classmethod
    def parse(cls, text: str) -> Times:
        """Raises ValueError where ``text`` is none, or not from 1.1 to 1000."""
        match = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)x", text)
        if match is None or not 1.1 <= float(match[1]) <= 1000:
            raise ValueError(f"expected {cls.expected}, from 1.1x to 1000x")
        return cls(round(float(match[1]) * 1000))

    def __str__(self) -> str:
        return f"{self / 1000:g}x"


class Size(int):
    """Bytes, written like ``4096``, ``64KiB``, ``8MiB``, ``1GB``."""

    expected = "a size like 64KiB or 8MiB"
    pattern = r"^[0-9]+(B|KiB|MiB|GiB|KB|MB|GB)?$"

    @classmethod
    def parse(cls, text: str) -> Size:
        """Raises ValueError where ``text`` is none, or over 1 TiB."""
        match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]i?B|B|)", text)
        if match is None or int(match[1]) * _UNITS_BYTES[match[2]] > 2**40:
            raise ValueError(f"expected {cls.expected}")
        return cls(int(match[1]) * _UNITS_BYTES[match[2]])

    def __str__(self) -> str:
        return _written(self, {unit: _UNITS_BYTES[unit] for unit in ("B", "KiB", "MiB", "GiB")}, "B")


class Share(int):
    """Parts of a million, written like ``20%``, ``0.5%``."""

    expected = "a share like 20% or 0.5%"
    pattern = r"^[0-9]+(\.[0-9]+)?%$"

    @classmethod
    def parse(cls, text: str) -> Share:
        """Raises ValueError where ``text`` is none, or over 100%."""
        match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%", text)
        if match is None and re.fullmatch(r"[0-9]{1,3}\.[0-9]{5,}%", text):
            raise ValueError("expected a share with four decimals at most, like 0.0001%")
        if match is None or float(match[1]) > 100:
            raise ValueError(f"expected {cls.expected}, up to 100%")
        return cls(round(float(match[1]) * 10_000))

    def __str__(self) -> str:
        return f"{self / 10_000:.4f}".rstrip("0").rstrip(".") + "%"


class Retries(int):
    """How many, or parts of a million, written like ``10`` or ``20%``.

    Attributes:
        is_share: it is such parts.
    """

    is_share: bool
    expected = "a number like 10 or a share like 20%"
    pattern = r"^[0-9]+(\.[0-9]+)?%?$"

    @classmethod
    def parse(cls, text: str) -> Retries:
        """Raises ValueError where ``text`` is neither, or nothing."""
        if not text.endswith("%") and not re.fullmatch(r"[0-9]{1,7}", text):
            raise ValueError(f"expected {cls.expected}")
        value = cls(Share.parse(text) if text.endswith("%") else text)
        if not 1 <= value <= 1_000_000:
            raise ValueError(
                "expected 1 to 1000000, or a share over 0%; without retries leave out the rules' retry"
            )
        value.is_share = text.endswith("%")
        return value


class After(str):
    """A duration, or what such a share of requests take: ``50ms``, ``p95``, ``p99.9``.

    Attributes:
        ms: the duration; 0 for a share.
        share: parts of a million; 0 for a duration.
    """

    __slots__ = ("ms", "share")

    expected = "a duration like 50ms, or a percentile like p95"
    pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h)|p[0-9]{2}(\.[0-9]+)?)$"
    ms: int
    share: int

    @classmethod
    def parse(cls, text: str) -> After:
        """Raises ValueError where ``text`` is none, or out of range."""
        found = cls(text)
        found.ms = found.share = 0
        if match := re.fullmatch(r"p([0-9]{2}(?:\.[0-9]{1,2})?)", text):
            found.share = round(float(match[1]) * 10_000)
            if found.share < 500_000:
                raise ValueError("expected p50 to p99.99")
            return found
        try:
            found.ms = Duration.parse(text)
        except ValueError:
            raise ValueError(f"expected {cls.expected}") from None
        if not 1 <= found.ms <= 3_600_000:
            raise ValueError("expected 1ms to 1h")
        return found


class Address(str):
    """``host:port``; an IPv6 host stands in brackets.

    Attributes:
        host: as written.
        port: a number.
        ip: the host where it is an address, in the one way to write it; empty where it is a name.
    """

    __slots__ = ("host", "ip", "port")
    host: str
    port: int
    ip: str
    expected = "an address like 127.0.0.1:20880 or [::1]:20880"
    pattern = r"^(\[[0-9a-fA-F:.]+\]|[^:\s]+):[0-9]+$"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises ValueError where ``text`` is none."""
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})", text)
        if match is None or int(match[3]) > 65535:
            raise ValueError(f"expected {cls.expected}")
        address = cls(text)
        address.host = match[1] or match[2]
        address.port = int(match[3])
        family = socket.AF_INET6 if match[1] else socket.AF_INET
        try:
            address.ip = socket.inet_ntop(family, socket.inet_pton(family, address.host))
        except OSError:
            if match[1]:
                raise ValueError(f"expected {cls.expected}") from None
            if re.fullmatch(r"(.*\.)?([0-9]+|0[xX][0-9a-fA-F]*)\.?", address.host):
                # A resolver would make another address of it: of 1 0.0.0.1, of 010.0.0.1 8.0.0.1.
                raise ValueError(f"expected {cls.expected}; IPv4 is four numbers up to 255") from None
            if not all(0 < len(one) <= 63 for one in address.host.removesuffix(".").split(".")):
                raise ValueError(f"expected {cls.expected}; a name's parts have 1 to 63 characters") from None
            address.ip = ""
        return address


class Pattern(str):
    """A text in which each ``*`` stands for anything: ``x``, ``x*``, ``*x``, ``a*b``, ``*``."""

    __slots__ = ()
    expected = "a text, with * for anything"
    pattern = r"^[^\0]*$"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises ValueError where a text has a NUL, or too many stars to be told apart."""
        if "\0" in text:
            raise ValueError(f"expected {cls.expected}, without a NUL")
        pattern = cls(text)
        if not pattern.simple:
            from protokit.config.regex import stars  # seldom needed  # noqa: PLC0415

            stars(text)
        return pattern

    def matches(self, text: str) -> bool:
        """Whether that is what it stands for."""
        return re.fullmatch(".*".join(map(re.escape, self.split("*"))), text, re.DOTALL) is not None

    @property
    def simple(self) -> bool:
        """Whether a star stands at the end at most."""
        return "*" not in self[:-1]


class Whole(int):
    """A whole number of 64 bits."""

    expected = "a whole number"
    pattern = r"^[-+]?[0-9]{1,19}$"

    @classmethod
    def parse(cls, text: str) -> Whole:
        """Raises ValueError where ``text`` is none, or has over 64 bits."""
        if re.fullmatch(cls.pattern, text) is None or not -(2**63) <= int(text) < 2**63:
            raise ValueError(f"expected {cls.expected} from -2^63 to 2^63 - 1")
        return cls(text)


class Regex(str):
    """A regular expression for a whole text."""

    __slots__ = ()
    expected = "a regular expression"
    pattern = r"^.*$"

    @classmethod
    def parse(cls, text: str) -> Regex:
        """Raises ValueError where ``text`` is none, or not one that costs a step for each byte."""
        from protokit.config.regex import automaton  # seldom needed  # noqa: PLC0415

        try:
            automaton(text)
        except ValueError as error:
            raise ValueError(f"expected {cls.expected}: {error}") from None
        return cls(text)


class Secret(str):
    """What only those know who may do something; nobody is shown it."""

    __slots__ = ()
    expected = "a secret of 16 to 128 letters, digits and signs, without blanks"
    pattern = r"^[!-~]{16,128}$"

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Raises ValueError where ``text`` is none."""
        if re.fullmatch(r"[!-~]{16,128}", text) is None:
            raise ValueError(f"expected {cls.expected}")
        return cls(text)

    def __repr__(self) -> str:
        return "a secret"


class Hex(bytes):
    """Bytes, written as hex digits; blanks may stand between them."""

    __slots__ = ()
    expected = "bytes in hex"
    pattern = r"^([0-9a-fA-F]{2}\s*)+$"

    @classmethod
    def parse(cls, text: str) -> Hex:
        """Raises ValueError where ``text`` is none, or over 64 KiB."""
        try:
            found = cls(bytes.fromhex(text))
        except ValueError:
            raise ValueError(f"expected {cls.expected}, like 'da bb c2 00'") from None
        if not 0 < len(found) <= 65536:
            raise ValueError(f"expected {cls.expected}, 1 to 65536 of them, not {len(found)}")
        return found


class Network(str):
    """A network of addresses, or one address.

    Attributes:
        spans: its first and last addresses, as 128-bit numbers (``networks.py``).
    """

    __slots__ = ("spans",)
    spans: tuple[tuple[int, int], ...]
    expected = "a network like 10.0.0.0/8 or fd00::/8, or an address"
    pattern = r"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"

    @classmethod
    def parse(cls, text: str) -> Network:
        """Raises ValueError where ``text`` is none, and for an address in a network, which may be meant."""
        from protokit.config.networks import spans  # seldom needed  # noqa: PLC0415

        network = cls(text)
        network.spans = spans(text)
        return network
