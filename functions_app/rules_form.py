"""The form of the rules on a function's valves: a group of boxes for each field; an empty box says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from functions_app.valves import Rules, Schema, is_secret, properties, secret_fields
from functions_app.valves_form import Json, Lines, choice_field

SCOPES = {"valves": "Valves", "user_valves": "User valves"}
KEYS = ("minimum", "maximum", "choices", "pattern", "default", "fixed")
_HELP = {
    "choices": "The only values that may be set, one a line.",
    "pattern": "A regular expression that is found in the value; ^ and $ stand for its ends.",
    "default": "Holds where nothing is set, instead of the code's own default.",
    "fixed": "Holds in any case; nobody can set another.",
}


class RulesForm(forms.Form):
    """Boxes for the rules on both sorts of valves; ``given()`` is what ``Valves.objects.set_rules`` takes."""

    def __init__(self, schemas: Mapping[str, Schema | None], stored: Mapping[str, Rules], data: Any = None) -> None:
        super().__init__(data)
        self.stored = stored
        self.groups: list[tuple[str, dict[str, Any]]] = []
        """Heading and options of each field set, as the admin's forms take them."""
        self._boxes: dict[str, tuple[str, str, str]] = {}
        for scope, schema in schemas.items():
            inside = secret_fields(schema)
            for name, prop in properties(schema).items():
                whole = is_secret(schema, name)
                if name in inside and not whole:
                    continue  # no rule can be on a field that has secrets inside
                self._add(scope, name, prop, secret=whole)

    def _add(self, scope: str, name: str, prop: Schema, *, secret: bool) -> None:
        rule = self.stored.get(scope, {}).get(name, {})
        boxes = []
        for key, field in _fields(prop, rule, secret=secret).items():
            box = f"{scope}__{name}__{key}"
            field.required = False
            field.label = key.capitalize()
            field.help_text = _HELP.get(key, "")
            field.initial = rule.get(key)
            self.fields[box] = field
            self._boxes[box] = (scope, name, key)
            boxes.append(box)
        options: dict[str, Any] = {"fields": boxes}
        if not rule and not any(self.data.get(box) for box in boxes):
            options["classes"] = ["collapse"]
        self.groups.append((f"{SCOPES[scope]}: {prop.get('title') or name}", options))

    def given(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Returns all rules after a valid form: those that are stored, with what was changed."""
        rules: dict[str, dict[str, dict[str, Any]]] = {
            scope: {name: dict(rule) for name, rule in self.stored.get(scope, {}).items()} for scope in SCOPES
        }
        for box, (scope, name, key) in self._boxes.items():
            if box in self.changed_data:
                value = self.cleaned_data[box]
                rule = rules[scope].setdefault(name, {})
                if value in (None, "", []):
                    rule.pop(key, None)
                else:
                    rule[key] = value
        return {scope: {name: rule for name, rule in found.items() if rule} for scope, found in rules.items()}

    def explain(self, errors: Iterable[Mapping[str, Any]]) -> None:
        """Puts what is wrong with rules beside their boxes; what belongs to none goes to the top."""
        for error in errors:
            loc = [str(part) for part in error["loc"]]
            box = "__".join(loc[:3])
            if box in self.fields:
                self.add_error(box, error["msg"])
            else:
                self.add_error(None, f"{'.'.join(loc[1:])}: {error['msg']}" if loc[1:] else error["msg"])


def _fields(prop: Schema, rule: Mapping[str, Any], *, secret: bool) -> dict[str, forms.Field]:
    """Returns the boxes that make sense for a field, and those whose part of the rule is stored."""
    kind = prop.get("type")
    items = prop.get("items") if kind == "array" else prop
    item: Schema = items if isinstance(items, Mapping) else {}
    of = item.get("type")
    wanted = {
        "minimum": of in ("integer", "number", None),
        "maximum": of in ("integer", "number", None),
        "choices": of in ("integer", "number", "string", None) and not secret,
        "pattern": of in ("string", None),
        "default": not secret,
        "fixed": not secret,
    }
    made: dict[str, forms.Field] = {}
    for key in KEYS:
        if wanted[key] or key in rule:
            made[key] = _field(key, prop, of, rule.get(key))
    return made


def _field(key: str, prop: Schema, of: Any, current: Any) -> forms.Field:
    if key in ("minimum", "maximum"):
        return _number_field(of, current)
    if key == "pattern":
        return forms.CharField(strip=False, widget=forms.TextInput(attrs={"size": 60, "class": "functions-code"}))
    if key == "choices":
        texts = of == "string"
        only_texts = not isinstance(current, list) or all(isinstance(choice, str) for choice in current)
        return Lines(texts=texts and only_texts)
    options = prop.get("enum")
    if prop.get("type") == "boolean":
        options = [True, False]
    if isinstance(options, list):
        return choice_field(options, current, nullable=True)
    if prop.get("type") in ("integer", "number"):
        return _number_field(prop["type"], current)
    if prop.get("type") == "string" and (current is None or isinstance(current, str)):
        return forms.CharField(strip=False, widget=forms.Textarea(attrs={"rows": 1, "cols": 60}))
    return Json(rows=1)


def _number_field(of: Any, current: Any) -> forms.Field:
    if of == "integer" and isinstance(current, int | None):
        return forms.IntegerField()
    return forms.FloatField()
