"""Where the generations' tokens are kept."""

from __future__ import annotations

from django.db import models


class Generation(models.Model):
    """The token of one half, as ``functions_app.generation`` writes it: 16 random bytes in hexadecimal."""

    name = models.CharField(primary_key=True, max_length=20)
    token = models.CharField(max_length=32)

    def __str__(self) -> str:
        return self.name
