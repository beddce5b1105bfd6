"""The generic request that every protocol is read into. Imports nothing of protokit."""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")
Value = bool | int | float | str | bytes | None


MOST_ARGUMENTS = 1000
ARGUMENT = r"(0|[1-9][0-9]{0,2})(\.([^.\\]|\\[.\\])+){0,16}"  # keys: PK_INSIDE_KEYS at most
_ARGUMENT = re.compile(ARGUMENT, re.DOTALL)
_KEY = re.compile(r"\.((?:[^.\\]|\\[.\\])+)", re.DOTALL)
_MOST_OF_KEY = 255  # bytes


def argument_path(text: str) -> tuple[int, tuple[str, ...]] | None:
    r"""Which argument ``0.user.id`` is, and the keys inside; ``\.`` is a dot in one, ``\\`` a backslash.

    Returns:
        Its number from 0 and the keys; None where it is no path.
    """
    if _ARGUMENT.fullmatch(text) is None:
        return None
    number, dot, rest = text.partition(".")
    keys = tuple(re.sub(r"\\(.)", r"\1", one, flags=re.DOTALL) for one in _KEY.findall(dot + rest))
    if any(len(one.encode("utf-8", "surrogatepass")) > _MOST_OF_KEY for one in keys):
        return None
    return int(number), keys


class Status(enum.IntEnum):
    """The outcome of a request, the same for all protocols (PK_STATUS_* of ``protokit/codec.h``)."""

    OK = 0
    APP_ERROR = 1
    NO_SERVICE = 2
    BAD_REQUEST = 3
    TIMEOUT = 4
    OVERLOADED = 5
    UNAVAILABLE = 6
    DENIED = 7
    INTERNAL = 8


class Headers(MutableMapping[str, str]):
    """Headers (attachments) in the order in which they stand on the wire; a later duplicate wins.

    Of a request or an answer, whoever asks for one that is there and cannot be read gets a
    RemoteProtocolError; whoever goes through all does not meet it.
    """

    __slots__ = ("_items", "_source", "unreadable")

    def __init__(
        self,
        items: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        source: HeaderSource | None = None,
    ) -> None:
        self._items: dict[str, str] = dict(items)
        self._source = source
        self.unreadable: Exception | None = None

    def __getitem__(self, key: str) -> str:
        try:
            return self._items[key]
        except KeyError:
            self._missed(key)
            raise

    def _missed(self, key: object) -> None:
        """What is not among those that were read may be there, and read otherwise by its receiver."""
        if self._source is None or not isinstance(key, str) or not key.isascii():
            return
        try:
            self._source.header(key)
        except Exception as error:
            self.unreadable = error
            raise

    def __setitem__(self, key: str, value: str) -> None:
        _check(key, value)
        self._items[key] = value

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def _check(key: object, value: object) -> None:
    """Where a filter sets it, so that its own line is the one that fails."""
    if not isinstance(key, str):
        raise TypeError(f"a header's name is {key!r}, expected a text")
    if not isinstance(value, str):
        raise TypeError(f"header {key!r} is set to {value!r}, expected a text")


class HeaderSource(Protocol):
    """Where headers are read from when somebody looks at them."""

    def headers(self) -> Headers:
        """All of them."""

    def header(self, key: str) -> str | None:
        """One; None where there is none."""


class _Message:
    """What a request and an answer have in common: headers that are read when somebody looks."""

    __slots__ = ("_headers", "_source", "frame", "protocol", "unreadable")

    def __init__(self, headers: Headers | HeaderSource | None, frame: bytes, protocol: str) -> None:
        self._source = None if headers is None or isinstance(headers, Headers) else headers
        self._headers = headers if isinstance(headers, Headers) else Headers() if headers is None else None
        self.frame = frame
        self.protocol = protocol
        self.unreadable: Exception | None = None

    @property
    def headers(self) -> Headers:
        """See above.

        Raises:
            RemoteProtocolError: they cannot be read.
        """
        if self._headers is None:
            source = self._source
            self._headers = Headers() if source is None else Headers(self._asked(source.headers), source)
        return self._headers

    @headers.setter
    def headers(self, headers: Headers) -> None:
        given = headers if isinstance(headers, Headers) else Headers(headers)
        for key, value in given.items():
            _check(key, value)
        self._headers = given

    @property
    def headers_read(self) -> bool:
        """Whether somebody has looked at all headers, and may have changed some."""
        return self._headers is not None

    def header(self, key: str) -> str | None:
        """One header, without reading the others where the protocol can; None where there is none.

        Raises:
            RemoteProtocolError: it cannot be read.
        """
        # Protocols may write other characters in other ways than this key has them.
        if self._headers is not None or self._source is None or not key.isascii():
            return self.headers.get(key)
        source = self._source
        return self._asked(lambda: source.header(key))

    def could_not_be_read(self, error: BaseException) -> bool:
        """Whether that was raised since it cannot be read, which is its sender's doing."""
        return error is self.unreadable or (self._headers is not None and error is self._headers.unreadable)

    def _asked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except Exception as error:
            self.unreadable = error
            raise

    def put_back(self, before: _Message) -> None:
        """Make it what ``before``, a copy, is; what is read meanwhile is read."""
        for kind in type(self).__mro__:
            for name in getattr(kind, "__slots__", ()):
                setattr(self, name, getattr(before, name))

    def copy(self) -> Self:
        """The same again, with headers of its own."""
        other = type(self).__new__(type(self))
        other.put_back(self)
        if self._headers is not None:
            other._headers = Headers(self._headers, self._source)  # noqa: SLF001  # checked when they were set
        return other


class Request(_Message):
    """One request, as a filter sees it.

    Attributes:
        protocol: name of the wire protocol.
        service, method, version, group: what it asks for; empty where the frame does not say.
        headers: text headers of the frame (attachments), read when somebody looks at them; who wants one asks
            for it by ``header``. A change of these four or of a header reaches the wire; what else the frame
            holds stays byte for byte. The route was chosen before.
        frame: the whole frame as it came, bytes.
        timeout_ms: the caller's own budget; 0 where the frame names none.
        oneway: nobody waits for an answer.
        cluster: set it to send the request to that cluster instead of its rule's.
        unreadable: why headers or arguments could not be read, where somebody asked for them.
        argument_of: how they are read: of an index, and the keys inside of it, the value.
        arguments_of: how all are read, as Python values.
        changed_arguments: what a filter has put in their place; None: nothing.
    """

    __slots__ = (
        "argument_of",
        "arguments_of",
        "changed_arguments",
        "cluster",
        "group",
        "method",
        "oneway",
        "service",
        "timeout_ms",
        "version",
    )

    def __init__(
        self,
        service: str = "",
        method: str = "",
        *,
        version: str = "",
        group: str = "",
        headers: Headers | HeaderSource | None = None,
        frame: bytes = b"",
        timeout_ms: int = 0,
        oneway: bool = False,
        protocol: str = "",
    ) -> None:
        super().__init__(headers, frame, protocol)
        self.service = service
        self.method = method
        self.version = version
        self.group = group
        self.timeout_ms = timeout_ms
        self.oneway = oneway
        self.cluster: str | None = None
        self.argument_of: Callable[[int, tuple[str, ...]], Value] | None = None
        self.arguments_of: Callable[[], list[Any]] | None = None
        self.changed_arguments: list[Any] | None = None

    def arguments(self) -> list[Any]:
        """All arguments of the call as Python values, read anew each time, or what a filter made of them.

        Raises:
            RemoteProtocolError: they cannot be read.
            LocalProtocolError: this protocol's plugin does not decode them, or not in this frame.
        """
        if self.changed_arguments is not None:
            return copy.deepcopy(self.changed_arguments)  # what one that fails did to it is undone
        return [] if self.arguments_of is None else self._asked(self.arguments_of)

    def change_arguments(self, values: Iterable[Any]) -> None:
        """Send the call with other arguments, as many as it has; ``argument`` still says what came."""
        self.changed_arguments = list(values)

    def argument(self, index: int | str, default: Value = None) -> Value:
        """One argument of the call as it came, from 0; it is read when it is asked for.

        Args:
            index: its number, or the path to what is inside of one: ``0.user.id``.
            default: what is said where the call has no such argument, or nothing stands there.

        Returns:
            None, a boolean, a number or a text; of anything else its bytes, as they stand in the frame.
            ``default`` where the call has no such argument.

        Raises:
            RemoteProtocolError: it cannot be read.
            LocalProtocolError: this protocol's arguments cannot be read.
            ValueError: ``index`` is a text, and no path.
        """
        path = argument_path(index) if isinstance(index, str) else (index, ())
        if path is None:
            raise ValueError(f"{index!r} is no argument: expected its number, or a path like 0.user.id")
        if path[0] < 0 or self.argument_of is None:
            return default
        try:
            return self.argument_of(*path)
        except (IndexError, OverflowError):  # also more than any call can have
            return default
        except Exception as error:
            self.unreadable = error
            raise

    def __repr__(self) -> str:
        where = f"{self.service}.{self.method} version={self.version!r} group={self.group!r}"
        return f"Request({self.protocol} {where})"


class Answer(_Message):
    """What the answer of a service says.

    Attributes:
        status: how it went.
        headers: text headers of the frame (attachments), read when somebody looks at them, or one of them by
            ``header``. What a filter changes of them reaches the wire, and nothing else does.
        frame: the whole frame as it came, bytes.
        protocol: name of the wire protocol.
        latency_ms: from sending the request to the answer, milliseconds, of the try that was answered.
        endpoint: who answered, "127.0.0.1:20881".
        cluster: whose endpoint that is.
        unreadable: why headers could not be read, where somebody asked for them.
    """

    __slots__ = ("cluster", "endpoint", "latency_ms", "status")

    def __init__(
        self,
        status: Status = Status.OK,
        *,
        headers: Headers | HeaderSource | None = None,
        frame: bytes = b"",
        protocol: str = "",
        latency_ms: float = 0.0,
        endpoint: str = "",
        cluster: str = "",
    ) -> None:
        super().__init__(headers, frame, protocol)
        self.status = status
        self.latency_ms = latency_ms
        self.endpoint = endpoint
        self.cluster = cluster

    def __repr__(self) -> str:
        return f"Answer({self.protocol} {self.status.name})"


class Response:
    """An answer that a filter gives instead of an upstream.

    Args:
        status: becomes the protocol's own error; not OK, since only a service can make an answer's body.
        message: what the caller's exception says, at most 512 bytes of UTF-8.
    """

    __slots__ = ("message", "status")

    def __init__(self, status: Status, message: str) -> None:
        if status in {Status.OK, Status.APP_ERROR}:
            raise ValueError(f"a filter answers with an error status, not {status.name}")
        self.status = status
        self.message = message

    def __repr__(self) -> str:
        return f"Response({self.status.name}, {self.message!r})"


class End:
    """What became of a request, for accounts.

    Attributes:
        service, method: what it asked for, as it came, cut at 200 and 100 bytes.
        rule: the one it came by, "main[0]"; or its listener's name where that has no rules.
        cluster, endpoint: who was asked last; empty where nobody was.
        status: of its answer, or of the error that its caller was told; None where it has neither: a
            one-way request, or one whose client left first.
        reason: what the proxy said where the answer is its own error; empty where a service gave it.
        latency_ms: from its coming to its end, milliseconds.
        bytes_in: of its frame.
        bytes_out: of what its server answered.
        oneway: nobody waits for an answer.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "cluster",
        "endpoint",
        "latency_ms",
        "method",
        "oneway",
        "reason",
        "rule",
        "service",
        "status",
    )

    def __init__(
        self,
        service: str = "",
        method: str = "",
        *,
        rule: str = "",
        cluster: str = "",
        endpoint: str = "",
        status: Status | None = None,
        reason: str = "",
        latency_ms: float = 0.0,
        bytes_in: int = 0,
        bytes_out: int = 0,
        oneway: bool = False,
    ) -> None:
        self.service = service
        self.method = method
        self.rule = rule
        self.cluster = cluster
        self.endpoint = endpoint
        self.status = status
        self.reason = reason
        self.latency_ms = latency_ms
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.oneway = oneway

    def __repr__(self) -> str:
        status = "no status" if self.status is None else self.status.name
        return f"End({self.service}.{self.method} {status} {self.reason!r})"


class Filter:
    """What a filter plugin's factory returns; one for each place in the configuration that names it.

    It has one of these methods, or several.
    """

    async def request(self, request: Request) -> Response | None:
        """Look at a request before it is sent on.

        Args:
            request: set its ``cluster`` to change where it goes.

        Returns:
            None to let it go on, or the answer it gets.
        """
        raise NotImplementedError

    async def response(self, request: Request, answer: Answer) -> Response | None:
        """Look at an answer before the caller gets it. One-way requests have none.

        Args:
            request: as it was sent.
            answer: change its ``headers``, where the protocol can write them.

        Returns:
            None to let it go on, or the error that the caller gets instead.
        """
        raise NotImplementedError

    async def on_end(self, ends: Sequence[End]) -> None:
        """Hear what became of requests, some time after their end: nothing waits for it.

        One call at a time, for all that ended meanwhile. Where it does not keep up, ends are dropped and
        counted.

        Args:
            ends: in the order of their ends, of each worker.
        """
        raise NotImplementedError


# Called with the options that the configuration gives, once for each place that names the filter.
FilterFactory = Callable[[Mapping[str, Any]], Filter]


class Demand(NamedTuple):
    """What a rule's requests of one key ask for.

    Attributes:
        key: the values of what ``limit.by`` names, in its order, cut at 200 bytes; "" where there is none.
        requests: how many came since it was asked about last.
    """

    key: tuple[str, ...]
    requests: int


class Quota(NamedTuple):
    """What requests of one key may do.

    Attributes:
        requests: so many may pass, over all workers of this process; None: any number.
        seconds: for so long that holds, and nobody asks again before three quarters of it are over.
    """

    requests: int | None
    seconds: float


class Limiter:
    """What a limiter plugin's factory returns; one for each rule that names it."""

    async def ask(self, demands: Sequence[Demand]) -> Sequence[Quota | None]:
        """Say what is allowed. No request waits for it.

        One call at a time of each rule, for all keys that are to be asked about. It is cancelled after five
        seconds. What it raises is logged and counted, and what it said before holds as long as it was to.

        Args:
            demands: 1,000 at most, each key once.

        Returns:
            As many, in the same order; None: nothing is said of that key.
        """
        raise NotImplementedError


# Called with the options that the configuration gives, once for each rule that names the limiter.
LimiterFactory = Callable[[Mapping[str, Any]], Limiter]
