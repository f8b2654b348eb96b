"""Keys: issued, shown once, revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from functions_app import roles
from functions_app.models import User
from pipeline_app.models import ApiKey, Scope

if TYPE_CHECKING:
    _KeyForm = forms.ModelForm[ApiKey]
    _KeyAdmin = admin.ModelAdmin[ApiKey]
else:
    _KeyForm, _KeyAdmin = forms.ModelForm, admin.ModelAdmin


class ApiKeyForm(_KeyForm):
    """Scopes as check boxes."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: all that the owner may do.",
    )

    class Meta:
        model = ApiKey
        fields = ("user", "label", "scopes", "expires_at")

    issuer: User | None = None

    def clean_user(self) -> User:
        owner: User = self.cleaned_data["user"]
        if self.issuer is not None and not roles.covers(self.issuer, owner):
            raise ValidationError("This person may more than you do, so you cannot make a key for them.")
        return owner


@admin.register(ApiKey)
class ApiKeyAdmin(_KeyAdmin):
    """Keys: issued here, shown once, told apart by their prefix, ended by revoking."""

    form = ApiKeyForm
    list_display = ("prefix", "user", "label", "scopes", "expires_at", "is_usable", "last_used_at", "created_at")
    list_select_related = ("user",)
    list_filter = ("user",)
    search_fields = ("prefix", "label", "user__username")
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        fields = ("user", "label", "scopes", "expires_at")
        return fields if obj is None else (*fields, *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else ("user", *self.readonly_fields)

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.issuer = request.user  # type: ignore[attr-defined]  # of a class made for this request
        return form

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        # Another scope or date for a key of somebody who may more would be more than one has oneself.
        return (obj is None or roles.covers(request.user, obj.user)) and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = ApiKey.objects.issue(obj.user, obj.label, obj.scopes, obj.expires_at)
        obj.pk = key.pk
        obj.__dict__.update(key.__dict__)
        messages.success(
            request, format_html("The key is <code>{}</code>. Copy it now: it can't be shown again.", text)
        )

    @admin.display(boolean=True, description="usable")
    def is_usable(self, key: ApiKey) -> bool:
        return key.usable

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset.filter(revoked_at=None):
            key.revoke()
        messages.success(request, "The keys open nothing any more.")
