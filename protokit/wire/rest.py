"""Where a layout may end with its sender's end (``UntilEnd``)."""

from __future__ import annotations

from protokit import native
from protokit.errors import DeclarationError
from protokit.wire.expressions import Binary, Expression, Not, Sent, show
from protokit.wire.nodes import Branch, Choice, Node, Repeated, Rest, walk

_SERVER = native.SIDES.index("server")


def check_rest(nodes: tuple[Node, ...], mode: str) -> None:
    """Refuse a layout that nobody could tell the end of.

    Raises:
        DeclarationError: names the field, says why and what to write instead.
    """
    _check(nodes, last=True, server=False)
    rest = [node for node in walk(nodes) if isinstance(node, Rest)]
    if rest and mode == "multiplexed":
        raise DeclarationError(
            f"{show(rest[0].path)}: UntilEnd() takes the whole connection, which in mode='multiplexed' "
            "others wait on: write mode='pingpong' (or 'ordered', 'pinned') where a server answers so, or a "
            "length in front (Bytes(this.n))"
        )


def _check(nodes: tuple[Node, ...], *, last: bool, server: bool) -> None:
    for number, node in enumerate(nodes):
        final = last and number == len(nodes) - 1
        if isinstance(node, Rest) and not final:
            raise DeclarationError(
                f"{show(node.path)}: UntilEnd() takes all that comes, so nothing can stand behind it"
            )
        if isinstance(node, Rest) and not server:
            raise DeclarationError(
                f"{show(node.path)}: only a server's end is passed on to who waits for it: write "
                "If(side == 'server', UntilEnd()), and give what clients send a length"
            )
        if isinstance(node, Branch):
            _check(node.then, last=final, server=server or _tells(node.test, _SERVER))
            _check(node.otherwise, last=final, server=server or _denies(node.test))
        elif isinstance(node, Choice):
            for case in (*(case for _, case in node.cases), node.default or ()):
                _check(case, last=final, server=server)
        elif isinstance(node, Repeated):
            _check(node.part, last=False, server=server)


def _tells(test: Expression, number: int) -> bool:
    """Whether it holds of what that side sends, and of nothing else."""
    if isinstance(test, Binary) and test.op == "AND":
        return _tells(test.left, number) or _tells(test.right, number)
    return test == Binary("EQ", Sent(), number)


def _denies(test: Expression) -> bool:
    """Whether it holds of all but what a server sends; who sent it is known."""
    if isinstance(test, Not):
        return _tells(test.operand, _SERVER)
    client = native.SIDES.index("client")
    return test in (Binary("EQ", Sent(), client), Binary("NE", Sent(), _SERVER))
