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

from functions_app.valves import (
    MASK,
    Rules,
    Schema,
    defaults,
    effective,
    is_secret,
    masked,
    narrowed,
    properties,
    same,
    secret_fields,
)

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

    def __init__(self, *, rows: int = 4, **kwargs: Any) -> None:
        attrs = {"rows": rows, "cols": 60, "class": "functions-code"}
        super().__init__(widget=forms.Textarea(attrs=attrs), **kwargs)

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


class Fixed(forms.Field):
    """A value that is shown and can't be changed."""

    widget = forms.Textarea

    def __init__(self) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 1, "cols": 60}), disabled=True)

    def clean(self, value: Any) -> Any:
        return value

    def prepare_value(self, value: Any) -> Any:
        scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
        return value if scalar else json.dumps(value, ensure_ascii=False)


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
    what is set. The box "back to the default" unsets a field. What a rule fixes is shown and not sent.
    """

    schema: Schema
    stored: Mapping[str, Any]
    rules: Rules

    def values(self) -> dict[str, Any]:
        """Returns what is to be set after a valid form, as ``Valves.objects.set_values`` takes it.

        Secrets that were not touched are left out, so they stay; None takes one back to its default.
        """
        known, shown = properties(self.schema), masked(self.schema, self.stored)
        result = {name: value for name, value in self.stored.items() if name not in known or same(shown[name], value)}
        standard = defaults(self.schema)
        for name in known:
            if "fixed" in self.rules.get(name, {}):
                result.pop(name, None)
            elif self.cleaned_data.get(name + BACK):
                result.pop(name, None)
                if name in self.stored and not same(shown[name], self.stored[name]):
                    result[name] = None
            elif name in self.changed_data:
                value = self.cleaned_data[name]
                # An emptied box means "unset", except for text, where empty is a value.
                unset = value is None or (value == "" and not isinstance(self.fields[name], Text))
                if unset or (name in standard and same(standard[name], value)):
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


def form_class(schema: Schema, stored: Mapping[str, Any], rules: Rules | None = None) -> type[ValvesForm]:
    """Returns a form for the schema over the values that are set; fields fixed by a rule can't be edited."""
    fixed = {name for name, rule in (rules or {}).items() if "fixed" in rule}
    schema = narrowed(schema, {name: rule for name, rule in (rules or {}).items() if name not in fixed})
    holds = effective(schema, stored, rules)
    shown = masked(schema, holds)
    inside = secret_fields(schema) | {name for name, value in holds.items() if not same(shown[name], value)}
    secrets = {name for name in inside if is_secret(schema, name) or shown[name] == MASK}
    required = set(schema.get("required") or ())
    members: dict[str, Any] = {}
    for name, prop in properties(schema).items():
        rule = (rules or {}).get(name) or {}
        field: forms.Field
        if name in fixed:
            field = Fixed()
        elif name in secrets:
            field = _secret_field(prop, set_=name in stored)
        elif name in inside:
            rows = json.dumps(shown.get(name), indent=2).count("\n") + 1
            field = Json(
                rows=min(max(rows, 4), 16), help_text=f"JSON. {MASK} stands for a secret that is set and stays."
            )
        else:
            field = _field(prop, shown.get(name))
        field.required = False
        field.label = f"{prop.get('title') or name}{' *' if name in required else ''}"
        field.help_text = _help(prop, field.help_text, _ruled(rule))
        if name not in secrets:
            field.initial = shown.get(name)
        members[name] = field
        if name in stored and not field.disabled:
            what = "Clear" if name in secrets else "Back to the default"
            members[name + BACK] = forms.BooleanField(required=False, label=f"{what}: {prop.get('title') or name}")
    made: type[ValvesForm] = type("ValvesForm", (ValvesForm,), members)
    made.schema, made.stored, made.rules = schema, dict(stored), rules or {}
    return made


def _help(prop: Schema, *own: Any) -> str:
    # Django's templates take help texts for HTML; these are an author's.
    return " ".join(escape(part) for part in (prop.get("description"), *own) if part)


def _ruled(rule: Mapping[str, Any]) -> str:
    if "fixed" in rule:
        return "Fixed by a rule."
    return f"Must match the pattern {rule['pattern']}" if "pattern" in rule else ""


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


def _field(prop: Schema, current: Any) -> forms.Field:
    try:
        return _known_field(prop, current)
    except (TypeError, ValueError, AttributeError):
        # A schema that only looks like one: its author can still be configured, in JSON.
        return Json(help_text="JSON.")


def _known_field(prop: Schema, current: Any) -> forms.Field:
    hint: Any = prop.get("input")
    offered: Any = hint.get("options") if isinstance(hint, Mapping) else None
    options = prop.get("enum") or ([prop["const"]] if "const" in prop else None)
    if options is None and isinstance(offered, list):
        options = offered
    kind = prop.get("type")
    if kind == "array":
        items: Any = prop.get("items") or {}
        if choices := items.get("enum") or options:
            return _several(choices, current)
        if items.get("type") in ("string", "integer", "number") or not items:
            return Lines(texts=items.get("type") in (None, "string"), help_text="One a line.")
        return Json(help_text="JSON.")
    if options:
        return choice_field(options, current, nullable=bool(prop.get("nullable")))
    if kind == "boolean":
        return choice_field([True, False], current, nullable=True) if prop.get("nullable") else forms.BooleanField()
    if kind in ("integer", "number"):
        least, most = (bound if isinstance(bound, int | float) else None for bound in _bounds(prop))
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


def _bounds(prop: Schema) -> tuple[Any, Any]:
    return prop.get("minimum"), prop.get("maximum")


def _pairs(options: Iterable[Any]) -> list[tuple[str, str]]:
    pairs = []
    for option in options:
        entry = option if isinstance(option, Mapping) and "value" in option else {"value": option}
        value = entry["value"]
        label = {True: "Yes", False: "No"}.get(value) if isinstance(value, bool) else value
        pairs.append((json.dumps(value), str(entry.get("label", label))))
    return pairs


def choice_field(options: Iterable[Any], current: Any, *, nullable: bool) -> forms.Field:
    """Returns a select of JSON values; with ``nullable``, or where none is current, also of none of them."""
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
