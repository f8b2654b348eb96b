"""The nouns: one module each."""

from __future__ import annotations

from functions_app.models.environment import Environment
from functions_app.models.file import File
from functions_app.models.function import Function
from functions_app.models.generation import Generation
from functions_app.models.model import Model
from functions_app.models.user import User
from functions_app.models.valves import UserValves, Valves
from functions_app.models.version import FunctionVersion

__all__ = ["Environment", "File", "Function", "FunctionVersion", "Generation", "Model", "User", "UserValves", "Valves"]
