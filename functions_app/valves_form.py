"""A JSON schema as a Django form, for admins and users who set valves.

It covers what functions use; whatever it doesn't know becomes a box of JSON, and the function's
own model has the last word (``runtime.validate``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.html import escape

from functions_app.valves import Schema, defaults, effective, properties, secret_fields

BACK = "__default"
"""Ends the name of the box that takes a field back to its default."""


class Lines(forms.CharField):
    """A list, one item a line; items that are no text are written as JSON."""

    def __init__(self, *, texts: bool, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 4, "cols": 60}), strip=False, **kwargs)
        self.texts = texts

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(item if isinstance(item, str) and self.texts else json.dumps(item) for item in value)
        return value

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in str(value or "").splitlines()]
        items = [line for line in lines if line]
        if self.texts:
            return items
        try:
            return [json.loads(item) for item in items]
        except ValueError:
            raise ValidationError("Write one number a line.", code="invalid") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or []))
        except ValidationError:
            return True


class Text(forms.CharField):
    """Text as the author knows it: a browser's line ends become plain ones."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, **kwargs)

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(data) != ("" if initial is None else str(initial))


class Json(forms.JSONField):
    """A box of JSON for what has no better widget."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 4, "cols": 60, "class": "functions-code"}), **kwargs)

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return None
        return _parsed(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return "" if value is None else json.dumps(value, indent=2, ensure_ascii=False)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


def _parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValidationError(f"This is not JSON: {error.msg} in line {error.lineno}.", code="invalid") from None
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"This is not JSON that can be stored: {error}.", code="invalid") from None


class ValvesForm(forms.Form):
    """A form over one schema. It starts from what holds and stores only what was changed.

    An untouched field stays as it is, set or unset. A secret is never shown: its empty box keeps
    what is set. The box "back to the default" unsets a field.
    """

    schema: Schema
    stored: Mapping[str, Any]

    def values(self) -> dict[str, Any]:
        """Returns what is explicitly set after a valid form; ``runtime.validate`` has the last word on it."""
        result = dict(self.stored)
        standard = defaults(self.schema)
        for name in properties(self.schema):
            if self.cleaned_data.get(name + BACK):
                result.pop(name, None)
            elif name in self.changed_data:
                value = self.cleaned_data[name]
                # An emptied box means "unset", except for text, where empty is a value.
                unset = value is None or (value == "" and not isinstance(self.fields[name], Text))
                if unset or (name in standard and _same(standard[name], value)):
                    result.pop(name, None)
                else:
                    result[name] = value
        return result

    def explain(self, errors: Iterable[Mapping[str, Any]]) -> None:
        """Puts errors of the function's own model beside their fields; what belongs to none goes to the top."""
        for error in errors:
            loc = [str(part) for part in error["loc"]]
            if loc and loc[0] in self.fields:
                inside = ".".join(loc[1:])
                self.add_error(loc[0], f"{inside}: {error['msg']}" if inside else error["msg"])
            else:
                self.add_error(None, f"{'.'.join(loc)}: {error['msg']}" if loc else error["msg"])


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def form_class(schema: Schema, stored: Mapping[str, Any], rules: Mapping[str, Any] | None = None) -> type[ValvesForm]:
    """Returns a form for the schema over the values that are set; fields fixed by a rule can't be edited."""
    secrets, shown = secret_fields(schema), effective(schema, stored, rules)
    required = set(schema.get("required") or ())
    members: dict[str, Any] = {}
    for name, prop in properties(schema).items():
        rule = (rules or {}).get(name) or {}
        field = _secret_field(prop, set_=name in stored) if name in secrets else _field(prop, rule, shown.get(name))
        field.required = False
        field.label = f"{prop.get('title') or name}{' *' if name in required else ''}"
        field.help_text = _help(prop, field.help_text)
        field.disabled = "fixed" in rule
        if name not in secrets:
            field.initial = shown.get(name)
        members[name] = field
        if name in stored and not field.disabled:
            what = "Clear" if name in secrets else "Back to the default"
            members[name + BACK] = forms.BooleanField(required=False, label=f"{what}: {prop.get('title') or name}")
    made: type[ValvesForm] = type("ValvesForm", (ValvesForm,), members)
    made.schema, made.stored = schema, dict(stored)
    return made


def _help(prop: Schema, own: Any) -> str:
    # Django's templates take help texts for HTML; these are an author's.
    return " ".join(escape(part) for part in (prop.get("description"), own) if part)


def _secret_field(prop: Schema, *, set_: bool) -> forms.Field:
    hint = "A value is set. Leave the box empty to keep it." if set_ else ""
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "size": 60})
    if prop.get("type") in (None, "string"):
        return Secret(widget=widget, help_text=hint)
    return SecretJson(help_text=f"JSON. {hint}")


class Secret(forms.CharField):
    """A masked box. Empty means "keep"."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data)


class SecretJson(Json):
    """JSON that contains a secret; what is set is not shown."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(data and str(data).strip())


def _field(prop: Schema, rule: Mapping[str, Any], current: Any) -> forms.Field:
    try:
        return _known_field(prop, rule, current)
    except (TypeError, ValueError, AttributeError):
        # A schema that only looks like one: its author can still be configured, in JSON.
        return Json(help_text="JSON.")


def _known_field(prop: Schema, rule: Mapping[str, Any], current: Any) -> forms.Field:
    hint: Any = prop.get("input")
    offered: Any = hint.get("options") if isinstance(hint, Mapping) else None
    options = rule.get("choices") or prop.get("enum") or ([prop["const"]] if "const" in prop else None)
    if options is None and isinstance(offered, list):
        options = offered
    kind = prop.get("type")
    if kind == "array":
        items: Any = prop.get("items") or {}
        if choices := options or items.get("enum"):
            return _several(choices, current)
        if items.get("type") in ("string", "integer", "number") or not items:
            return Lines(texts=items.get("type") in (None, "string"), help_text="One a line.")
        return Json(help_text="JSON.")
    if options:
        return _choice(options, current, nullable=bool(prop.get("nullable")))
    if kind == "boolean":
        return _choice([True, False], current, nullable=True) if prop.get("nullable") else forms.BooleanField()
    if kind in ("integer", "number"):
        least = max(_numbers(prop.get("minimum"), rule.get("minimum")), default=None)
        most = min(_numbers(prop.get("maximum"), rule.get("maximum")), default=None)
        make: Any = forms.IntegerField if kind == "integer" else forms.FloatField
        field: forms.Field = make(min_value=least, max_value=most)
        return field
    if kind == "string":
        rows = min(max(str(current or "").count("\n") + 1, 1), 12)
        return Text(
            widget=forms.Textarea(attrs={"rows": rows, "cols": 60}),
            max_length=prop.get("maxLength"),
            min_length=prop.get("minLength"),
        )
    return Json(help_text="JSON.")


def _numbers(*bounds: Any) -> list[float]:
    return [bound for bound in bounds if isinstance(bound, (int, float))]


def _pairs(options: Iterable[Any]) -> list[tuple[str, str]]:
    pairs = []
    for option in options:
        entry = option if isinstance(option, Mapping) and "value" in option else {"value": option}
        value = entry["value"]
        label = {True: "Yes", False: "No"}.get(value) if isinstance(value, bool) else value
        pairs.append((json.dumps(value), str(entry.get("label", label))))
    return pairs


def _choice(options: Iterable[Any], current: Any, *, nullable: bool) -> forms.Field:
    pairs = _pairs(options)
    # What is set stays choosable, also when it is no longer offered.
    if current is not None and json.dumps(current) not in dict(pairs):
        pairs.append((json.dumps(current), f"{current} (no longer offered)"))
    if nullable or current is None:
        pairs.insert(0, ("", "---------"))
    return Choice(choices=pairs, coerce=json.loads, empty_value=None)


class Choice(forms.TypedChoiceField):
    """One of some JSON values."""

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else value if isinstance(value, _Sent) else json.dumps(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return _Sent(data) if isinstance(data, str) and data else None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((data or "") != self.prepare_value(initial))


class _Sent(str):
    """A choice as the browser sent it, which is JSON already."""


def _several(options: Iterable[Any], current: Any) -> forms.Field:
    pairs = _pairs(options)
    for value in current if isinstance(current, list) else ():
        if json.dumps(value) not in dict(pairs):
            pairs.append((json.dumps(value), f"{value} (no longer offered)"))
    return Choices(choices=pairs, coerce=json.loads, empty_value=[])


class Choices(forms.TypedMultipleChoiceField):
    """Some of some JSON values."""

    def prepare_value(self, value: Any) -> Any:
        return [item if isinstance(item, _Sent) else json.dumps(item) for item in value or ()]

    def bound_data(self, data: Any, initial: Any) -> Any:
        return [_Sent(item) for item in data or ()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(data or ()) != set(self.prepare_value(initial))
