"""People. Staff can't give themselves more rights, nor get them by touching those who have more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from functions_app import roles
from functions_app.models import User

if TYPE_CHECKING:
    _Admin = DjangoUserAdmin[User]
else:
    _Admin = DjangoUserAdmin


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin):
    """Groups: who may change them chooses their names, and only superusers what they may."""

    def get_readonly_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        return () if request.user.is_superuser else ("permissions",)


@admin.register(User)
class UserAdmin(_Admin):
    list_display = ("username", "email", "shown_role", "is_staff", "last_login")
    fieldsets = (
        *(DjangoUserAdmin.fieldsets or ()),
        ("What functions see", {"fields": ("profile_image_url", "timezone", "settings", "info")}),
    )

    @admin.display(description="role")
    def shown_role(self, user: User) -> str:
        return user.role

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if request.user.is_superuser:
            return fields
        return (*fields, "is_staff", "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._may_touch(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._may_touch(request, obj) and super().has_delete_permission(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        if not request.user.is_superuser:
            queryset = queryset.exclude(is_superuser=True)
        super().delete_queryset(request, queryset)

    def _may_touch(self, request: HttpRequest, obj: User | None) -> bool:
        return obj is None or roles.covers(request.user, obj)
