"""Fields found backwards: from what a length has to come to, or from a condition that has to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.wire.explain import calculate
from protokit.wire.expressions import Binary, Field, fields_of, sizes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from protokit.wire.expressions import Expression, FieldPath

    Put = Callable[[FieldPath, int], None]
    Ranges = Mapping[FieldPath, tuple[int, int]]

_SCANNED = 256


def solve(expression: Expression, wanted: int, values: Any, free: Ranges, put: Put) -> int:
    """Choose the free fields of an expression so that it comes to what is wanted, or near below it.

    Args:
        expression: of a length or a count.
        wanted: what it should come to.
        values: of all fields so far.
        free: which may be chosen, and from which to which value.
        put: writes a field's value into ``values``.

    Returns:
        What it comes to now.
    """
    for path in sorted(fields_of(expression) & set(free)):
        _solve(lambda: calculate(expression, values), wanted, path, free[path], put)
    return calculate(expression, values)


def _solve(
    result: Callable[[], int], wanted: int, path: FieldPath, bounds: tuple[int, int], put: Put
) -> None:
    low, high = bounds

    def at(value: int) -> int:
        put(path, value)
        return result()

    best = low
    for value in _guesses(at, wanted, low, high):
        off = wanted - at(value)
        if off == 0:
            return
        # Near below, so that a field that counts smaller steps can make up the rest.
        if off > 0 and (at(best) > wanted or at(best) < wanted - off):
            best = value
    if at(best) < 0:  # nothing may be negative: rather too much than too little
        best = min((one for one in _guesses(at, wanted, low, high) if at(one) >= 0), default=best, key=at)
    put(path, best)


def _guesses(at: Callable[[int], int], wanted: int, low: int, high: int) -> Iterator[int]:
    """Values that may bring it there: by a straight line, by bits, and the first ones."""
    base = max(low, 0)
    zero = at(base)
    step = at(min(base + 1, high)) - zero
    guesses = [base, zero ^ wanted]
    if step:
        guesses += [base + (wanted - zero) // step, base - (zero - wanted) // step]
    guesses += [wanted << shift for shift in range(8)]
    yield from (one for one in guesses if low <= one <= high)
    if step == 0 or at(high) < wanted:
        yield from range(base, min(high, base + _SCANNED) + 1)


def satisfy(test: Expression, values: Any, free: Ranges, put: Put, held: Sequence[Expression] = ()) -> bool:
    """Choose fields, the last ones first, so that a condition holds, and whatever held before.

    Args:
        test: the condition.
        values: of all fields so far.
        free: which may be chosen, and from which to which value.
        put: writes a field's value into ``values``.
        held: conditions that a choice may not change.

    Returns:
        Whether it holds now.
    """
    if calculate(test, values):
        return True
    if isinstance(test, Binary) and test.op in {"AND", "OR"}:
        kept = [*held]
        for side in (test.right, test.left):
            if not isinstance(side, int) and satisfy(side, values, free, put, kept):
                if calculate(test, values):
                    return True
                if test.op == "AND":
                    kept.append(side)
    for path in [one for one in reversed(list(free)) if one in fields_of(test)]:
        before = calculate(Field(path), values)
        kept = [one for one in held if path in fields_of(one)]
        for value in _worth_trying(test, values, path, free[path], put):
            put(path, value)
            if calculate(test, values) and all(calculate(one, values) for one in kept):
                return True
        put(path, before)
    return False


def _worth_trying(
    test: Expression, values: Any, path: FieldPath, bounds: tuple[int, int], put: Put
) -> Iterator[int]:
    low, high = bounds
    before = calculate(Field(path), values)
    if isinstance(test, Binary):  # as little as may be of what is there: the bits that are looked at
        masks = [1 << bit for bit in range(high.bit_length())]
        masks += [
            mask << shift for mask in _constants(test) for shift in (0, *_constants(test)) if 0 <= shift < 64
        ]
        changed = [one for mask in masks for one in (before ^ mask, before | mask, before & ~mask)]
        for side, other in ((test.left, test.right), (test.right, test.left)):
            wanted = calculate(other, values)
            changed += [before & ~mask | wanted & mask for mask in _constants(side)]
        yield from (one for one in dict.fromkeys(changed) if low <= one <= high)
    put(path, before)
    sizes = sizes_of(test)
    read: list[Expression] = [*sizes, *(Field(one) for one in fields_of(test) - {one.path for one in sizes})]
    near = {calculate(one, values) + more for one in read for more in (-1, 0, 1)}
    near |= {low, high}
    if isinstance(test, Binary):
        difference = Binary("SUB", test.left, test.right)
        _solve(lambda: calculate(difference, values), 0, path, bounds, put)
        near |= {calculate(Field(path), values) + more for more in (0, -1, 1)}
        for side, other in ((test.left, test.right), (test.right, test.left)):
            put(path, 0)
            near.add(calculate(side, values) ^ calculate(other, values))
    yield from (one for one in sorted(near) if low <= one <= high)
    yield from range(max(low, 0), min(high, _SCANNED) + 1)


def _constants(expression: Expression) -> list[int]:
    """The integers in an expression."""
    if isinstance(expression, Binary):
        return [*_constants(expression.left), *_constants(expression.right)]
    return [expression] if isinstance(expression, int) else []
