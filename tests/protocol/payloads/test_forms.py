"""XEP-0004 forms: built, read, and checked against what was asked."""

import pytest

from xmppservice.protocol.errors import StanzaError
from xmppservice.protocol.jid import JID
from xmppservice.protocol.payloads import forms
from xmppservice.protocol.payloads.forms import Field, Form
from xmppservice.wire import ns
from xmppservice.wire.element import Element


def question() -> Form:
    """A form with a field of every type."""
    form = Form("form", "jabber:bot", "Bot", ["Fill this in.", "Please."])
    form.add("", "Section 1", "fixed")
    form.add("name", "", "text-single", "Its name", required=True, description="Any name.")
    form.add("about", "one\ntwo", "text-multi")
    form.add("public", True, label="Public?")
    form.add("secret", "", "text-private")
    form.add("level", "low", "list-single", options=[("Low", "low"), ("High", "high")])
    form.add("features", ["news"], "list-multi", options=[("News", "news"), ("Search", "search")])
    form.add("owner", "", "jid-single")
    form.add("invited", (), "jid-multi")
    form.add("token", "t1", "hidden")
    return form


def answer(fields: dict[str, list[str]], formType: str | None = "jabber:bot") -> Form:
    """A submission as it comes from a client: no types."""
    x = Element(ns.DATA, "x", {"type": "submit"})
    if formType is not None:
        fields = {"FORM_TYPE": [formType], **fields}
    for var, values in fields.items():
        field = x.child(ns.DATA, "field", {"var": var})
        for value in values:
            field.child(ns.DATA, "value", None, value)
    return Form.parse(x)


def test_built() -> None:
    """Type, title, instructions, FORM_TYPE and fields come in the order of the schema."""
    element = question().toElement()
    assert element.get("type") == "form"
    assert [child.name for child in element.elements()][:4] == ["title", "instructions", "instructions", "field"]
    fields = element.findAll(ns.DATA, "field")
    assert fields[0].attrs == {"var": "FORM_TYPE", "type": "hidden"}
    assert fields[1].attrs == {"type": "fixed"}
    assert fields[2].attrs == {"var": "name", "type": "text-single", "label": "Its name"}
    assert [child.name for child in fields[2].elements()] == ["desc", "required", "value"]
    assert [child.text for child in fields[3].elements()] == ["one", "two"]
    assert [child.name for child in fields[6].elements()] == ["value", "option", "option"]


def test_roundTrip() -> None:
    """A built form reads back the same."""
    element = question().toElement()
    assert Form.parse(element).toElement() == element


def test_table() -> None:
    """A result may be a table: a head and rows (3.4)."""
    form = Form("result", reported=[Field("name", type="text-single", label="Name"), Field("jid", type="jid-single")])
    form.items.append({"name": ["Bob"], "jid": ["bob@example.com"]})
    form.items.append({"name": ["Eve"], "jid": []})
    element = form.toElement()
    assert [child.name for child in element.elements()] == ["reported", "item", "item"]
    assert Form.parse(element).toElement() == element


def test_accessors() -> None:
    """Each accessor reads its type; an absent field gives the default, an empty one no address."""
    answers = question().accept(
        answer(
            {
                "name": ["x"],
                "about": ["1", "2"],
                "public": ["0"],
                "owner": ["Bob@Example.com"],
                "invited": ["a@x", "", "A@x", "b@x"],
                "features": [],
            }
        )
    )
    assert answers.text("name") == "x"
    assert answers.text("about") == "1\n2"
    assert answers.lines("about") == ("1", "2")
    assert answers.flag("public", True) is False
    assert answers.flag("level-of-noise", True) is True
    assert answers.jid("owner") == JID.parse("bob@example.com")
    assert answers.jids("invited") == (JID.parse("a@x"), JID.parse("b@x"))
    assert answers.lines("features") == ()
    assert answers.text("secret", "kept") == "kept"
    assert answers.jid("secret") is None


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False), ("false", False), ("", False)])
def test_booleans(text: str, value: bool) -> None:
    """The four spellings of XML Schema, and empty for the default."""
    assert question().accept(answer({"name": ["x"], "public": [text]})).flag("public") is value


def test_unknownFields() -> None:
    """Fields that were not asked for are ignored (3.1), absent ones stay absent (3.5)."""
    answers = question().accept(answer({"name": ["x"], "admin": ["1"]}))
    assert [each.var for each in answers.fields] == ["name"]
    assert question().accept(answer({"name": ["x"]}, None)).text("name") == "x"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": []},
        {"name": [""]},
        {"name": ["a", "b"]},
        {"name": ["x"], "public": ["yes"]},
        {"name": ["x"], "public": ["1", "0"]},
        {"name": ["x"], "level": ["medium"]},
        {"name": ["x"], "level": ["low", "high"]},
        {"name": ["x"], "features": ["news", "mail"]},
        {"name": ["x"], "owner": ["a b@x"]},
        {"name": ["x"], "invited": ["a@x", "@"]},
    ],
)
def test_notAcceptable(fields: dict[str, list[str]]) -> None:
    """A submission that does not fit the form is not-acceptable (section 4)."""
    with pytest.raises(StanzaError) as caught:
        question().accept(answer(fields))
    assert caught.value.condition == "not-acceptable"


def test_otherForm() -> None:
    """A submission of another form, or a form that is none, is refused."""
    with pytest.raises(StanzaError):
        question().accept(answer({"name": ["x"]}, "jabber:other"))
    with pytest.raises(StanzaError):
        question().accept(question())


@pytest.mark.parametrize(
    "element",
    [
        Element(ns.DATA, "x"),
        Element(ns.DATA, "x", {"type": "error"}),
        Element(ns.DATA, "y", {"type": "submit"}),
        Element("urn:example:other", "x", {"type": "submit"}),
        Element(
            ns.DATA,
            "x",
            {"type": "submit"},
            Element(ns.DATA, "field", {"var": "a"}),
            Element(ns.DATA, "field", {"var": "a"}),
        ),
    ],
)
def test_malformed(element: Element) -> None:
    """What is no data form is bad-request."""
    with pytest.raises(StanzaError) as caught:
        Form.parse(element)
    assert caught.value.condition == "bad-request"


def test_unknownType() -> None:
    """A field type we do not know counts as text-single (3.3)."""
    x = Element(ns.DATA, "x", {"type": "form"}, Element(ns.DATA, "field", {"var": "a", "type": "colour"}))
    field = Form.parse(x).field("a")
    assert field is not None
    assert field.type == "text-single"


def fields(count: int) -> Element:
    x = Element(ns.DATA, "x", {"type": "submit"})
    for number in range(count):
        x.child(ns.DATA, "field", {"var": str(number)})
    return x


def test_limits() -> None:
    """A form has at most so many fields, values, options and rows."""
    assert len(Form.parse(fields(forms.MAX_FIELDS)).fields) == forms.MAX_FIELDS
    values, options, rows = fields(1), fields(1), fields(0)
    for _ in range(forms.MAX_VALUES):
        values.elements()[0].child(ns.DATA, "value")
        options.elements()[0].child(ns.DATA, "option")
    for _ in range(forms.MAX_ROWS + 1):
        rows.child(ns.DATA, "item")
    for form in (fields(forms.MAX_FIELDS + 1), values, options, rows):
        with pytest.raises(StanzaError) as caught:
            Form.parse(form)
        assert caught.value.condition == "not-acceptable"
