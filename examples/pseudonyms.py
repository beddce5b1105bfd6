"""pseudonyms: replaces personal texts in the arguments of calls by pseudonyms, one text always by the same.

`plugins: [./pseudonyms.py]`, and where real calls leave for systems that must not know people (a cluster of a
test environment, say)

    filters:
      - pseudonyms: {key: "a secret of 16 characters or more", fields: [name, phone]}

Texts under those names are replaced, wherever they stand: in fields of objects, in maps, in lists of these.
The arguments are decoded for it, so this is for calls whose protocol's plugin can (hessian2, JSON-RPC). A
call that cannot be read is not let through.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from protokit import Filter, FilterFactory, Request, hookimpl

LEAST = 16  # characters of a key


class Pseudonyms(Filter):
    """See above."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.key = str(options["key"]).encode()
        if len(self.key) < LEAST:
            raise ValueError(f"key: expected {LEAST} characters at least, got {len(self.key)}")
        self.fields = frozenset(options["fields"])

    async def request(self, request: Request) -> None:
        arguments = request.arguments()
        if self.replaced(arguments):
            request.change_arguments(arguments)

    def replaced(self, root: Any) -> bool:
        """Whether something was replaced, in place. What is met again (a reference) is done already."""
        found, met, left = False, set(), [root]
        while left:
            value = left.pop()
            if id(value) in met:
                continue
            met.add(id(value))
            pairs = getattr(value, "fields", value)  # of an object, or of a map
            if isinstance(pairs, dict):
                for name in self.fields & {name for name in pairs if isinstance(name, str)}:
                    if isinstance(pairs[name], str):
                        pairs[name] = self.pseudonym(pairs[name])
                        found = True
                left += pairs.values()
            elif isinstance(value, list):
                left += value
        return found

    def pseudonym(self, text: str) -> str:
        return hmac.digest(self.key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]


@hookimpl
def protokit_filters() -> Mapping[str, FilterFactory]:
    return {"pseudonyms": Pseudonyms}
