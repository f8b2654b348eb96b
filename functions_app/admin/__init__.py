"""The admin pages: one module per page."""

from __future__ import annotations

from django.contrib import admin

from functions_app.admin.environment import EnvironmentAdmin
from functions_app.admin.file import FileAdmin
from functions_app.admin.function import FunctionAdmin
from functions_app.admin.memory import MemoryAdmin
from functions_app.admin.model import ModelAdmin
from functions_app.admin.outbox import OutboxEventAdmin
from functions_app.admin.signin import register as register_signin
from functions_app.admin.user import UserAdmin
from functions_app.admin.valves import ValvesAdmin

__all__ = [
    "EnvironmentAdmin",
    "FileAdmin",
    "FunctionAdmin",
    "MemoryAdmin",
    "ModelAdmin",
    "OutboxEventAdmin",
    "UserAdmin",
    "ValvesAdmin",
]

admin.site.site_header = "WebUI Functions"
admin.site.site_title = "WebUI Functions"
admin.site.index_title = "Administration"

register_signin()
