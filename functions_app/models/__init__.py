"""The nouns: one module each."""

from __future__ import annotations

from functions_app.models.environment import Environment
from functions_app.models.file import File
from functions_app.models.function import Function
from functions_app.models.generation import Generation
from functions_app.models.memory import Memory
from functions_app.models.model import Model
from functions_app.models.oauth import OAuthToken
from functions_app.models.outbox import OutboxEvent
from functions_app.models.switches import FilterSwitches
from functions_app.models.user import User
from functions_app.models.valves import UserValves, Valves
from functions_app.models.version import FunctionVersion

__all__ = [
    "Environment",
    "File",
    "FilterSwitches",
    "Function",
    "FunctionVersion",
    "Generation",
    "Memory",
    "Model",
    "OAuthToken",
    "OutboxEvent",
    "User",
    "UserValves",
    "Valves",
]
