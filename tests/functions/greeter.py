"""
title: Greeter
author: alice
version: 1.2
"""

from typing import Optional

from pydantic import BaseModel, Field


class Pipe:
    class Valves(BaseModel):
        priority: int = 7
        greeting: str = Field(default="Hello", description="How to greet")
        key: str = Field(default="", json_schema_extra={"input": {"type": "password"}})
        model: str = Field(default="a", json_schema_extra={"input": {"options": "models"}})

        @classmethod
        def models(cls, __user__=None):
            return [{"value": "a", "label": f"A for {(__user__ or {}).get('name')}"}]

    class UserValves(BaseModel):
        tone: str = "dry"

    def __init__(self):
        self.valves = self.Valves()
        self.name = "Greeter: "
        self.icon = "icon.svg"

    def pipes(self):
        return [{"id": "one", "name": "One"}]

    async def pipe(self, body: dict, __user__: Optional[dict] = None):
        return f"{self.valves.greeting}, {__user__['name']} ({__user__['valves'].tone})"
