"""The form of a function's policy: an empty box means "the default"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from functions_app.policy import GRANTS, ISOLATION_LEVELS, NETWORKS, Policy

NUMBERS = {
    "cpu_limit": "Seconds of CPU time that a call may use.",
    "memory_mb": "Megabytes of memory, at least 128.",
    "disk_mb": "Megabytes in its own temporary folder, in at most 10,000 files.",
    "output_mb": "Megabytes of one result or chunk; an answer in all may have four times as many.",
    "threads": "Threads of its process.",
    "concurrency": "Calls at a time, at most 128 of them synchronous. As many more wait up to 10 s, the rest get 429.",
}
CHOICES = {
    "on_error": (("block", "skip"), "Filters: what happens to the request when this one fails."),
    "stream_mode": (("pass", "hold"), "Filters: hold the whole answer until the outlet has spoken."),
    "network": (
        NETWORKS,
        "none: only what is allowed below; public: all but loopback, private and metadata addresses; open: everything.",
    ),
    "min_isolation": (
        ISOLATION_LEVELS,
        "The least isolation it runs under: below it, calls get 503. The isolation page shows the levels.",
    ),
}


class PolicyForm(forms.Form):
    """Every field of a policy; ``partial()`` is what ``Function.change_policy`` takes."""

    def __init__(self, stored: Mapping[str, Any], settings_policy: Mapping[str, Any], data: Any = None) -> None:
        super().__init__(data)
        holds = Policy.resolve(stored, settings_policy).to_wire()
        default = Policy.resolve({}, settings_policy).to_wire()
        self.default_grants = set(default["grants"])
        for name, (choices, help_text) in CHOICES.items():
            options = [("", f"Default ({default[name] or 'none'})"), *((choice, choice) for choice in choices)]
            label = name.replace("_", " ").capitalize()
            self.fields[name] = forms.ChoiceField(label=label, choices=options, required=False, help_text=help_text)
        limits = ", ".join(f"{hook} {seconds:g}" for hook, seconds in holds["time_limit"].items())
        self.fields["time_limit"] = forms.CharField(
            required=False,
            widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
            help_text=f"Seconds: one number for all hooks, or lines such as “pipe: 60”. Holds now: {limits}.",
        )
        for name, help_text in NUMBERS.items():
            label = name.removesuffix("_mb").replace("_", " ").capitalize().replace("Cpu", "CPU")
            help_text = f"{help_text} Holds now: {holds[name]:g}."
            self.fields[name] = forms.FloatField(label=label, required=False, help_text=help_text)
        self.fields["allow"] = forms.CharField(
            required=False,
            widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
            help_text="Reachable in any network mode, one a line: host, host:port, *.domain or CIDR. "
            "Loopback only if named itself, as 127.0.0.1:8080 or localhost.",
        )
        self.fields["grants"] = forms.MultipleChoiceField(
            choices=[(grant, f"{grant}: {what}") for grant, what in GRANTS.items()],
            required=False,
            widget=forms.CheckboxSelectMultiple(),
            help_text="What it may ask of the server, for the person who calls it.",
        )
        self.fields["import_rule"] = forms.ChoiceField(
            choices=[("", "Default"), ("none", "No rule"), ("allow", "Only these"), ("deny", "All but these")],
            required=False,
        )
        self.fields["imports"] = forms.CharField(
            required=False,
            widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
            help_text="Top-level modules, one a line. A rule for people; the boundary is the process.",
        )
        self.initial = {
            **_initial(stored),
            "grants": holds["grants"] if stored.get("grants") is None else stored["grants"],
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        try:
            self._partial = Policy.clean(self._typed(cleaned))
        except ValidationError as error:
            self._partial = {}
            for name, messages in error.message_dict.items():
                if name not in self.errors:
                    self.add_error(name, messages)
        return cleaned

    def partial(self) -> dict[str, Any]:
        """Returns all fields after a valid form; None where the default is to hold."""
        return self._partial

    def _typed(self, cleaned: Mapping[str, Any]) -> dict[str, Any]:
        typed: dict[str, Any] = {name: cleaned.get(name) or None for name in CHOICES}
        # Zero is a mistake to be told of, not an empty box.
        typed |= {name: cleaned.get(name) for name in NUMBERS}
        typed["time_limit"] = _time_limit(cleaned.get("time_limit") or "")
        typed["allow"] = _lines(cleaned.get("allow")) or None
        if "grants" in self.changed_data:
            grants = cleaned.get("grants") or []
            typed["grants"] = None if set(grants) == self.default_grants else grants
        rule = cleaned.get("import_rule")
        modules = _lines(cleaned.get("imports"))
        if rule in ("allow", "deny"):
            typed["imports"] = {rule: modules}
        else:
            typed["imports"] = {} if rule == "none" else None
        return typed


def _initial(stored: Mapping[str, Any]) -> dict[str, Any]:
    initial = {name: value for name, value in stored.items() if name not in ("time_limit", "allow", "imports")}
    limit = stored.get("time_limit")
    if isinstance(limit, Mapping):
        initial["time_limit"] = "\n".join(f"{hook}: {seconds:g}" for hook, seconds in limit.items())
    elif limit is not None:
        initial["time_limit"] = f"{limit:g}"
    initial["allow"] = "\n".join(stored.get("allow") or ())
    imports = stored.get("imports")
    if imports is not None:
        rule = next(iter(imports), "none")
        initial["import_rule"], initial["imports"] = rule, "\n".join(imports.get(rule, ()))
    return initial


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _time_limit(text: str) -> Any:
    """Returns a number, an object by hook, or what was typed, for ``Policy.clean`` to judge. None when nothing was."""
    lines = _lines(text)
    if not lines:
        return None
    if len(lines) == 1 and ":" not in lines[0]:
        return _number(lines[0])
    pairs = (line.partition(":") for line in lines)
    return {hook.strip(): _number(seconds) for hook, _, seconds in pairs}


def _number(text: str) -> Any:
    try:
        value = json.loads(text.strip())
    except ValueError:
        return text.strip()
    return value
