"""Data forms (XEP-0004): build one to ask or to report, read one that was submitted.

A `Form` is what travels.  Its accessors turn raw values into flags, lines and addresses, and refuse what
does not fit with `not-acceptable`, so that a caller reads an untrusted submission field by field:

    answers = template.accept(form)
    if answers.flag("public"): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as _field
from typing import Final

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID, InvalidJID
from xmppservice.wire import ns
from xmppservice.wire.element import Element

FORM_TYPES: Final = frozenset({"form", "submit", "cancel", "result"})
FIELD_TYPES: Final = frozenset(
    {
        "boolean",
        "fixed",
        "hidden",
        "jid-multi",
        "jid-single",
        "list-multi",
        "list-single",
        "text-multi",
        "text-private",
        "text-single",
    }
)
"""The field types of section 3.3; any other counts as text-single."""

MAX_FIELDS: Final = 256
MAX_VALUES: Final = 1024
MAX_ROWS: Final = 1024
"""How many fields, values and items a form that we read may have."""

_MULTIPLE: Final = frozenset({"list-multi", "jid-multi", "text-multi", "hidden"})
_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


@dataclass(slots=True)
class Field:
    """One field of a form: `var` is its name, `options` are pairs of label and value."""

    var: str
    values: Sequence[str] = ()
    type: str | None = None
    label: str | None = None
    required: bool = False
    options: Sequence[tuple[str, str]] = ()
    description: str | None = None

    def toElement(self) -> Element:
        """Return the `<field/>`."""
        element = Element(ns.DATA, "field", {"var": self.var} if self.var else None)
        if self.type:
            element.attrs["type"] = self.type
        if self.label:
            element.attrs["label"] = self.label
        if self.description:
            element.child(ns.DATA, "desc", None, self.description)
        if self.required:
            element.child(ns.DATA, "required")
        for value in self.values:
            element.child(ns.DATA, "value", None, value)
        for label, value in self.options:
            element.child(ns.DATA, "option", {"label": label} if label else None).child(ns.DATA, "value", None, value)
        return element

    def check(self, given: Sequence[str]) -> None:
        """Raise StanzaError not-acceptable unless `given` are values for this field (section 4)."""
        kind = self.type or "text-single"
        if self.required and not any(given):
            raise _unacceptable(self.var, "is required")
        if len(given) > 1 and kind not in _MULTIPLE:
            raise _unacceptable(self.var, "takes one value")
        if kind in ("list-single", "list-multi"):
            allowed = {value for _, value in self.options}
            if any(value and value not in allowed for value in given):
                raise _unacceptable(self.var, "takes one of its options")
        elif kind == "boolean":
            for value in filter(None, given):
                _flag(self.var, value)
        elif kind in ("jid-single", "jid-multi"):
            for value in filter(None, given):
                _address(self.var, value)


@dataclass(slots=True)
class Form:
    """A data form of any type; `formType` is the value of its FORM_TYPE field (XEP-0068)."""

    kind: str = "form"
    formType: str | None = None
    title: str | None = None
    instructions: Sequence[str] = ()
    fields: list[Field] = _field(default_factory=list)
    reported: list[Field] = _field(default_factory=list)
    items: list[dict[str, Sequence[str]]] = _field(default_factory=list)

    def add(
        self,
        var: str,
        value: str | bool | Iterable[str] = (),
        type: str | None = None,
        label: str | None = None,
        required: bool = False,
        options: Sequence[tuple[str, str]] = (),
        description: str | None = None,
    ) -> Field:
        """Append a field and return it; a bool becomes a boolean field, a text-multi str its lines."""
        values: tuple[str, ...]
        if isinstance(value, bool):
            values, type = (["false", "true"][value],), type or "boolean"
        elif isinstance(value, str):
            values = tuple(value.split("\n")) if type == "text-multi" else (value,)
        else:
            values = tuple(value)
        added = Field(var, values, type, label, required, options, description)
        self.fields.append(added)
        return added

    def toElement(self) -> Element:
        """Return the `<x/>`."""
        form = Element(ns.DATA, "x", {"type": self.kind})
        if self.title:
            form.child(ns.DATA, "title", None, self.title)
        for line in self.instructions:
            form.child(ns.DATA, "instructions", None, line)
        if self.formType is not None:
            form.add(Field("FORM_TYPE", (self.formType,), "hidden").toElement())
        for each in self.fields:
            form.add(each.toElement())
        if self.reported:
            reported = form.child(ns.DATA, "reported")
            for each in self.reported:
                reported.add(each.toElement())
        for item in self.items:
            row = form.child(ns.DATA, "item")
            for var, values in item.items():
                row.add(Field(var, values).toElement())
        return form

    @classmethod
    def parse(cls, element: Element) -> Form:
        """Read an `<x/>`; raise StanzaError bad-request if it is malformed or beyond the limits above."""
        kind = element.get("type") or ""
        if element.ns != ns.DATA or element.name != "x" or kind not in FORM_TYPES:
            raise StanzaError("bad-request", text="That is no data form.")
        form = cls(kind)
        budget = _Budget()
        for child in element.elements():
            if child.ns != ns.DATA:
                continue
            if child.name == "field":
                form._take(_parseField(child, budget))
            elif child.name == "title":
                form.title = child.text
            elif child.name == "instructions":
                form.instructions = (*form.instructions[:15], child.text)
            elif child.name == "reported":
                form.reported = [_parseField(each, budget) for each in child.findAll(ns.DATA, "field")]
            elif child.name == "item":
                budget.rows()
                row = [_parseField(each, budget) for each in child.findAll(ns.DATA, "field")]
                form.items.append({each.var: each.values for each in row})
        return form

    def _take(self, parsed: Field) -> None:
        if parsed.var == "FORM_TYPE":
            self.formType = parsed.values[0] if parsed.values else None
        elif parsed.var and self.field(parsed.var) is not None:
            raise StanzaError("bad-request", text="A form names a field twice.")
        elif len(self.fields) >= MAX_FIELDS:
            raise _tooLarge()
        else:
            self.fields.append(parsed)

    def accept(self, submitted: Form) -> Form:
        """Check a submission against this form and return what this form knows of it, with our types.

        Unknown fields are dropped (3.1), absent ones stay absent (3.5), hidden ones need not come back.
        Raises StanzaError not-acceptable.
        """
        if submitted.kind != "submit":
            raise StanzaError("bad-request", text="That form is not a submission.")
        if self.formType and submitted.formType and submitted.formType != self.formType:
            raise StanzaError("not-acceptable", text="That form is of another type.")
        answers = Form("submit", self.formType)
        for ours in self.fields:
            theirs = submitted.field(ours.var) if ours.var and ours.type != "fixed" else None
            if theirs is not None:
                ours.check(theirs.values)
                answers.fields.append(Field(ours.var, theirs.values, ours.type))
            elif ours.required:
                raise _unacceptable(ours.var, "is required")
        return answers

    def field(self, var: str) -> Field | None:
        """Return the field of that name, or None."""
        for each in self.fields:
            if each.var == var:
                return each
        return None

    def lines(self, var: str) -> tuple[str, ...]:
        """Return all values of a field, none if it is absent."""
        found = self.field(var)
        return tuple(found.values) if found else ()

    def text(self, var: str, default: str = "") -> str:
        """Return a field's value, several joined by newlines; `default` if the field is absent."""
        found = self.field(var)
        return default if found is None else "\n".join(found.values)

    def flag(self, var: str, default: bool = False) -> bool:
        """Return a boolean field's value; `default` if it is absent or empty."""
        value = self.text(var)
        return _flag(var, value) if value else default

    def jid(self, var: str) -> JID | None:
        """Return a field's address, None if it is absent or empty."""
        value = self.text(var)
        return _address(var, value) if value else None

    def jids(self, var: str) -> tuple[JID, ...]:
        """Return a field's addresses in their order, each once (3.3)."""
        return tuple(dict.fromkeys(_address(var, value) for value in self.lines(var) if value))


class _Budget:
    """What a form that is being read may still contain."""

    __slots__ = ("_rows", "_values")

    def __init__(self) -> None:
        self._rows = MAX_ROWS
        self._values = MAX_VALUES

    def rows(self) -> None:
        self._rows -= 1
        if self._rows < 0:
            raise _tooLarge()

    def values(self, count: int) -> None:
        self._values -= count
        if self._values < 0:
            raise _tooLarge()


def _parseField(element: Element, budget: _Budget) -> Field:
    values: list[str] = []
    options: list[tuple[str, str]] = []
    parsed = Field(element.get("var") or "", values, element.get("type"), element.get("label"), options=options)
    if parsed.type is not None and parsed.type not in FIELD_TYPES:
        parsed.type = "text-single"
    for child in element.elements():
        if child.ns != ns.DATA:
            continue
        if child.name == "value":
            values.append(child.text)
        elif child.name == "required":
            parsed.required = True
        elif child.name == "desc":
            parsed.description = child.text
        elif child.name == "option":
            value = child.find(ns.DATA, "value")
            options.append((child.get("label") or "", value.text if value else ""))
    budget.values(1 + len(values) + len(options))
    return parsed


def _flag(var: str, value: str) -> bool:
    flag = _FLAGS.get(value.strip())
    if flag is None:
        raise _unacceptable(var, "is true or false")
    return flag


def _address(var: str, value: str) -> JID:
    try:
        return JID.parse(value)
    except InvalidJID as error:
        raise _unacceptable(var, "takes an XMPP address") from error


def _unacceptable(var: str, why: str) -> StanzaError:
    return StanzaError("not-acceptable", text=f"The field {var[:64]} {why}.")


def _tooLarge() -> StanzaError:
    return StanzaError("not-acceptable", text="That form is too large.")
