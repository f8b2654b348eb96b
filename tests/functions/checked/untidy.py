"""
title : Untidy
author: alice
required_open_webui_version: new
requirements: requests, Requests, pydantic>=2,<3, not a package, thing @ https://example.org/thing.whl
version: 1"""

import asyncio
import json
import time

import requests
import sklearn.linear_model
from pydantic import BaseModel


class Filter:
    class Valves(BaseModel):
        priority: str = "high"
        needed: int

    def __init__(self):
        self.client = None

    async def inlet(self, body, token, __event_emiter__=None):
        time.sleep(1)
        self.fetch()
        self.tell()
        await asyncio.to_thread(self.fetch)
        return undefined_thing

    def fetch(self):
        return requests.get("https://example.org")

    async def tell(self):
        return None

    def stream(event):
        return event

    def outlet(self, body):
        yield body


class Action:
    def action(self, body):
        return body
