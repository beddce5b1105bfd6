"""Ids inside of structures, as they are encoded there: what the engine takes out and puts back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protokit.errors import DeclarationError, LocalProtocolError, RemoteProtocolError
from protokit.wire.given import seen
from protokit.wire.readings import tried
from protokit.wire.structures.bers import TAG
from protokit.wire.views import View

if TYPE_CHECKING:
    from protokit.wire.expressions import FieldPath
    from protokit.wire.structures import Inside

FORMS = {  # of the engine's own ids; the first where none is named
    "protobuf": ("varint", "decimal", "hex", "raw"),
    "tlv": ("decimal", "hex", "raw"),
    "json": ("decimal", "quoted"),
    "msgpack": ("msgpack",),
    "ber": ("integer", "decimal", "hex", "raw"),
}
KINDS = {"protobuf": 3, "tlv": 4, "json": 5, "msgpack": 6, "ber": 7}  # PK_ID_IN_*


class Token(View):
    """An id that stands in a structure.

    Args:
        inside: where.
        form: of the engine's own ids; None for the family's first.
    """

    def __init__(self, inside: Inside, form: str | None) -> None:
        family = inside.structure.family.name
        forms = FORMS.get(family)
        if forms is None or not inside.path:
            raise DeclarationError(
                f"byte_id: no id stands in {inside!r}; it is a field of protobuf, tlv, json, msgpack or ber, "
                "such as protobuf(this.meta)[4]"
            )
        if form is not None and form not in forms:
            raise DeclarationError(
                f"byte_id: the form {seen(form)} is not of an id that stands in {inside!r}; "
                f"{', '.join(forms)} may be"
            )
        texts = [key for key in inside.path if isinstance(key, str)]
        if texts and family in {"protobuf", "tlv"}:
            raise DeclarationError(
                f"byte_id: {inside!r} is looked for by {texts[0]!r}, and an id is found by numbers there"
            )
        if family == "ber" and TAG in texts:
            raise DeclarationError(f"byte_id: {inside!r} is a tag, and no id")
        self.inside = inside
        self.form = form or forms[0]
        self.family = inside.structure.family
        self.kind = KINDS[family]

    def __repr__(self) -> str:
        return repr(self.inside)

    @property
    def reads(self) -> FieldPath:  # type: ignore[override]  # of others it is a constant
        """The section."""
        return self.inside.reads

    @property
    def place(self) -> tuple[FieldPath, bytes]:
        """The section, and the path in it."""
        return self.inside.reads, self.inside.argument

    @property
    def _is_varint(self) -> bool:
        return self.form == "varint"

    def get(self, container: Any) -> bytes | None:
        """The id as it is encoded.

        Raises:
            RemoteProtocolError: the section is malformed.
        """
        section = self.inside.structure.section.get(container) or b""
        return tried(lambda: self._token(section))

    def _token(self, section: bytes) -> bytes | None:
        place = self.family.place(section, self.inside.path, is_varint=self._is_varint)
        return None if place is None else section[place.start : place.end]

    def replace(self, container: Any, text: bytes | None) -> None:
        """Put another there, as it is encoded; one that was not there is added."""
        section = self.inside.structure.section.get(container)
        if section is None or text is None:
            raise LocalProtocolError(f"{self!r} is not in this frame, and no id can be put there")
        try:
            place = self.family.place(section, self.inside.path, is_varint=self._is_varint)
            made = (
                self.family.added(section, self.inside.path, text, is_varint=self._is_varint)
                if place is None
                else self.family.rewritten(section, place, text)
            )
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"{self!r} cannot be written to: {error}") from error
        self.inside.structure.section.replace(container, made)

    def is_id(self, raw: bytes) -> bool:
        """Whether those bytes can be an id there."""
        return self.family.is_id(raw)

    def holding(self, token: bytes) -> bytes:
        """A section with that id alone."""
        return self.family.holding(self.inside.path, token, is_varint=self._is_varint)
