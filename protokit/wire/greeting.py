"""What peers say before requests: ``Greeting``, its turns, and which of them may be left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from protokit.errors import DeclarationError, word
from protokit.wire.expressions import Expression, resolve
from protokit.wire.given import expect, flag, seen, several

STEPS = 16  # PK_GREETING_STEPS
SAYINGS = 32  # PK_SAYINGS
FORMS = 31  # bits of an instruction's operand

Values = Callable[[Mapping[str, int]], Mapping[str, Any]]


@word
@dataclass(frozen=True)
class Turn:
    """A step of a greeting.

    Attributes:
        who: ``client`` or ``server``.
        say: what the proxy says in that part: variant to plain field values; of several forms a list of
            (condition, values), the first whose condition holds of what the peer said last, the last one
            without (``True``). None: the proxy leaves it out.
        when: an expression: which greetings of the peer's are this step; None: any.
        option: it may be left out.
        goes_with: where the step in front of it is left out, so is this one.
    """

    who: str
    say: Values | Sequence[tuple[Any, Values]] | None
    when: Any = None
    option: bool = False
    goes_with: bool = False

    def forms(self) -> list[tuple[Any, Values]]:
        """What may be said, each with its condition; None where it has none."""
        if self.say is None:
            return []
        if callable(self.say):
            return [(None, self.say)]
        return [(None if test is True else test, values) for test, values in self.say]


Step = Turn | tuple[str, Values]


@word
def optional(*steps: Step) -> tuple[Turn, ...]:
    """Steps of a greeting that whoever says the first of them may leave out, all together."""
    turns = list(Greeting(0, steps).turns())
    if not turns or any(one.option or one.goes_with for one in turns):
        raise DeclarationError(
            "greeting: optional() takes the steps that are left out together, and no other optional()"
        )
    return tuple(replace(one, option=number == 0, goes_with=number > 0) for number, one in enumerate(turns))


@word
@dataclass(frozen=True)
class Greeting:
    """What peers say to each other before requests: log in, or agree on something.

    The proxy is the server towards clients, and takes whatever they say; it is the client towards servers,
    and says the same to each.

    Attributes:
        when: an expression: these frames are greetings.
        steps: what is said, in order, 1 to 16 frames: (``"client"`` or ``"server"``, variant to plain field
            values), a ``Turn``, or what ``optional`` gives.
        refused: an expression: a greeting that says no.
        relayed: the proxy says nothing: greetings go from each client to the connection that is its own, and
            back. Only with ``mode="pinned"``; there are no steps then.
        first: of relayed ones: ``"server"`` where it is the server that speaks first. A client whose server
            cannot be reached is closed at once then; else it may ask something, and hear why that fails.
    """

    when: Any
    steps: Sequence[Step | tuple[Turn, ...]] = ()
    refused: Any = 0
    relayed: bool = False
    first: str | None = None

    def turns(self) -> Iterator[Turn]:
        """Its steps, one by one."""
        instead = "write a list of steps: [('client', lambda variant: {...})]"
        for one in several("greeting.steps", self.steps, instead):
            if isinstance(one, Turn):
                yield one
            elif isinstance(one, tuple) and all(isinstance(inner, Turn) for inner in one):
                yield from one  # it is what optional() gave
            elif isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str):
                yield Turn(*one)
            else:
                raise DeclarationError(
                    f"greeting.steps: {seen(one)} is none; write ('client', lambda variant: {{...}}), "
                    "Turn(...), or optional(...)"
                )


@dataclass(frozen=True)
class Said:
    """Something that the proxy may say: by whom, behind which forms of the peer's, and its values."""

    who: str
    heard: int
    values: Values
    what: str


class Conversation:
    """A greeting as it is compiled: forms are numbered, and turns say which they are.

    Args:
        greeting: of the format; None where it has none.
        mode: of the format.

    Raises:
        DeclarationError: it cannot be understood.
    """

    def __init__(self, greeting: Greeting | None, mode: str) -> None:
        if greeting is not None:
            expect("greeting", greeting, Greeting, "write Greeting(when=this.kind == 3, steps=[...])")
        self.relayed = greeting is not None and flag("greeting.relayed", greeting.relayed)
        self.server_first = greeting is not None and greeting.first == "server"
        self.turns = [] if greeting is None else list(greeting.turns())
        self.conditions: list[Any] = []
        self.sayings: list[Said] = []
        self.places: list[tuple[int, int, int]] = []  # of each turn: its forms, its first saying, how many
        if greeting is not None:
            self._check(mode)
            if greeting.first not in ((None, "server") if self.relayed else (None,)):
                raise DeclarationError(
                    f"greeting: first={seen(greeting.first)}; it is 'server', with relayed=True, where "
                    "servers speak first. Of a greeting with steps the first step says so"
                )
        for number, turn in enumerate(self.turns):
            what = f"greeting.steps[{number}]"
            heard = 0 if turn.when is None else self._form(turn.when)
            first = len(self.sayings)
            forms = self._forms(turn, what)
            for index, (test, values) in enumerate(forms):
                name = what if len(forms) == 1 else f"{what}, form {index}"
                form = 0 if test is None else self._form(test)
                self.sayings.append(Said(turn.who, form, values, name))
            self.places.append((heard, first, len(self.sayings) - first))
        if len(self.sayings) > SAYINGS or len(self.conditions) > FORMS:
            raise DeclarationError(
                f"greeting: its steps have {len(self.sayings)} forms and {len(self.conditions)} conditions, "
                f"at most {SAYINGS} and {FORMS} are possible"
            )

    def _check(self, mode: str) -> None:
        who = [turn.who for turn in self.turns]
        if self.relayed and (self.turns or mode != "pinned"):
            raise DeclarationError(
                "greeting: relayed=True passes on what client and server say, which needs mode='pinned' "
                f"(here it is {mode!r}) and no steps (here are {len(who)})"
            )
        if not self.relayed and (
            not 1 <= len(who) <= STEPS or not all(one in ("client", "server") for one in who)
        ):
            raise DeclarationError(
                f"greeting: {seen(who)} was given; 1 to {STEPS} steps of 'client' or 'server' are expected"
            )
        for number, turn in enumerate(self.turns):
            behind = [one for one in self.turns[number + 1 :] if one.who == turn.who]
            if turn.who == "server" and turn.option and turn.when is None:
                raise DeclarationError(
                    f"greeting.steps[{number}]: a server's step that may be left out is known by its "
                    "frame: Turn('server', ..., when=this.kind == 3)"
                )
            if turn.who == "server" and turn.option and all(one.option or one.goes_with for one in behind):
                raise DeclarationError(
                    f"greeting.steps[{number}]: nothing tells that a server leaves out its last step; one "
                    "that it always says has to follow"
                )
            if turn.say is None and not (turn.option or turn.goes_with):
                raise DeclarationError(
                    f"greeting.steps[{number}]: the proxy has to say this step to somebody; give its "
                    f"values, or write optional(Turn({turn.who!r}, None, ...))"
                )

    @staticmethod
    def _forms(turn: Turn, what: str) -> list[tuple[Any, Values]]:
        try:
            forms = turn.forms()
        except (TypeError, ValueError):
            forms = [(0, turn.say)]  # type: ignore[list-item]  # refused below
        if any(not callable(values) for _, values in forms):
            raise DeclarationError(
                f"{what}: {seen(turn.say)} was given; write lambda variant: {{...}}, or of several forms "
                "[(this.kind == 1, lambda variant: {...}), (True, lambda variant: {...})]"
            )
        if forms and [test is None for test, _ in forms] != [False] * (len(forms) - 1) + [True]:
            raise DeclarationError(
                f"{what}: of several forms the last one, and no other, has True for its condition: it is "
                "said where no other fits"
            )
        return forms

    def _form(self, condition: Any) -> int:
        resolved = resolve(condition, (), ("greeting.steps",))
        if resolved not in self.conditions:
            self.conditions.append(resolved)
        return 1 << self.conditions.index(resolved)

    def expressions(self) -> tuple[Expression, ...]:
        """What tells the forms of a peer's greeting apart."""
        return tuple(self.conditions)

    def bits(self, name: str) -> int:
        """Of the turns, bit by bit, those of which it holds."""
        return sum(1 << number for number, turn in enumerate(self.turns) if getattr(turn, name))

    @property
    def server(self) -> int:
        """The turns of the server's, bit by bit."""
        return sum(1 << number for number, turn in enumerate(self.turns) if turn.who == "server")
