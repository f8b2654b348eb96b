"""The forms that functions are written in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from functions_app import frontmatter
from functions_app.exchange import slug
from functions_app.models import Function
from functions_app.models.function import NAME_LENGTH, clean_id
from functions_app.models.version import NOTE_LENGTH, clean_source

if TYPE_CHECKING:
    _FunctionForm = forms.ModelForm[Function]
else:
    _FunctionForm = forms.ModelForm


_LINE_END = re.compile(r"\r\n?")


class SourceField(forms.CharField):
    """A box of code. Nothing is stripped, and what can't be stored gets a sentence of its own."""

    # Django's own check for NUL says less than ours, which names the line.
    default_validators: list[Any] = []

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"rows": 32, "cols": 100, "class": "functions-code", "spellcheck": "false", "autocapitalize": "off"}
        super().__init__(strip=False, required=False, widget=forms.Textarea(attrs=attrs), **kwargs)
        self.validators = []

    def clean(self, value: Any) -> str:
        return clean_source(super().clean(value))


class FunctionForm(_FunctionForm):
    """A function and the source of its newest version."""

    source = SourceField(label="Code")
    note = forms.CharField(
        required=False,
        max_length=NOTE_LENGTH,
        help_text="What this version changes.",
        widget=forms.TextInput({"size": 80}),
    )
    base = forms.IntegerField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = Function
        fields = ("id", "name", "is_active", "is_global", "owner")
        widgets = {"name": forms.TextInput(attrs={"size": 60})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.newest = None if self.instance._state.adding else self.instance.newest
        for name, help_text in (
            ("id", "Empty: made of the title in the frontmatter. Clients send it as model; it can't be changed later."),
            ("name", "Empty: the title in the frontmatter."),
        ):
            if name in self.fields:
                self.fields[name].required = False
                self.fields[name].help_text = help_text
        if self.newest is not None:
            self.initial.update(source=self.newest.source, base=self.newest.number)

    def clean_source(self) -> str:
        """Returns the code with the line ends that the newest version has: browsers send their own."""
        typed = _LINE_END.sub("\n", self.cleaned_data["source"])
        if self.newest is None:
            return typed
        before = self.newest.source
        if _LINE_END.sub("\n", before) == typed:
            return before
        return typed.replace("\n", "\r\n") if _LINE_END.sub("", before).count("\n") == 0 and "\r\n" in before else typed

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._fill_in(cleaned)
        if self.newest is not None and "source" in self.changed_data:
            self._refuse_a_lost_edit(cleaned)
        return cleaned

    def _fill_in(self, cleaned: dict[str, Any]) -> None:
        title = frontmatter.read(cleaned.get("source") or "").get("title", "")[:NAME_LENGTH]
        if "id" in self.fields and "id" not in self.errors:
            try:
                cleaned["id"] = clean_id(cleaned.get("id") or slug(title))
            except ValidationError as error:
                if cleaned.get("id"):
                    self.add_error("id", error)
                elif "source" not in self.errors:
                    self.add_error("id", "Give an id, or a title in the frontmatter to make one of.")
        if "name" in self.fields and "name" not in self.errors and not cleaned.get("name"):
            cleaned["name"] = title or cleaned.get("id") or self.instance.pk

    def _refuse_a_lost_edit(self, cleaned: dict[str, Any]) -> None:
        """Refuses code typed over a version that somebody saved meanwhile; what was typed stays, for a second save."""
        newest = self.newest
        if newest is None or cleaned.get("base") == newest.number:
            return
        who = f" by {newest.author}" if newest.author else ""
        self.add_error(
            "source",
            f"Version {newest.number} was saved{who} while you were editing. Your text is kept here: "
            "compare it with that version, then save again to put yours on top.",
        )
        data: Any = self.data
        data = data.copy()
        data[self.add_prefix("base")] = str(newest.number)
        self.data = data

    def has_new_source(self) -> bool:
        """Whether saving makes a version."""
        return self.newest is None or self.cleaned_data["source"] != self.newest.source
