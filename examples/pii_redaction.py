"""
title: PII redaction
author: webui-functions
version: 1.0.0
license: MIT
description: Replaces e-mail addresses, phone, card and account numbers by placeholders before a model sees them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

# The placeholders of an answer are not restored if this many requests with personal data began after its own.
REMEMBERED_REQUESTS = 10_000


class Filter:
    class Valves(BaseModel):
        priority: int = Field(default=0, description="Filters with a lower number run first.")
        emails: bool = Field(default=True, description="Replace e-mail addresses.")
        phones: bool = Field(default=True, description="Replace phone numbers.")
        cards: bool = Field(default=True, description="Replace credit card numbers.")
        ibans: bool = Field(default=True, description="Replace bank account numbers (IBAN).")
        restore: bool = Field(
            default=True,
            description="Put the originals back into the answer. Otherwise the user sees the placeholders too.",
        )

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.originals: OrderedDict[str, dict[str, str]] = OrderedDict()

    async def inlet(self, body: dict[str, Any], __metadata__: dict[str, Any] | None = None) -> dict[str, Any]:
        """Replaces personal data in the text of all messages; the same value gets the same placeholder everywhere."""
        placeholders: dict[str, dict[str, str]] = {}
        for message in body["messages"]:
            change_text(message, lambda text: self.redact(text, placeholders))
        if placeholders and __metadata__ is not None:
            # Metadata goes to other filters and to the pipe, so it holds a key to the originals, never the originals.
            key = __metadata__["pii_redaction"] = uuid4().hex
            self.originals[key] = {
                placeholder: original for known in placeholders.values() for original, placeholder in known.items()
            }
            if len(self.originals) > REMEMBERED_REQUESTS:
                self.originals.popitem(last=False)
        return body

    async def outlet(self, body: dict[str, Any], __metadata__: dict[str, Any] | None = None) -> dict[str, Any]:
        """Puts the originals back into the answer."""
        originals = self.originals.get((__metadata__ or {}).get("pii_redaction", ""))
        if self.valves.restore and originals:
            for message in body["messages"]:
                if message.get("role") == "assistant":
                    change_text(message, lambda text: PLACEHOLDER.sub(lambda m: originals.get(m[0], m[0]), text))
        return body

    def redact(self, text: str, placeholders: dict[str, dict[str, str]]) -> str:
        """Returns the text with placeholders, and adds those it had to invent to ``placeholders``, by kind."""

        def placeholder(kind: str, original: str) -> str:
            known = placeholders.setdefault(kind, {})
            return known.setdefault(original, f"[{kind}_{len(known) + 1}]")

        def replace(kind: str, genuine: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
            def replacement(match: re.Match[str]) -> str:
                found = genuine(match[0])
                return f"{placeholder(kind, found)}{match[0][len(found) :]}" if found else match[0]

            return replacement

        # Phone numbers come last: their pattern would fit parts of the others.
        if self.valves.emails:
            text = EMAIL.sub(replace("EMAIL", lambda found: found), text)
        if self.valves.ibans:
            text = IBAN.sub(replace("IBAN", lambda found: longest_start(found, is_iban)), text)
        if self.valves.cards:
            text = CARD.sub(replace("CARD", lambda found: longest_start(found, is_card)), text)
        if self.valves.phones:
            text = PHONE.sub(replace("PHONE", lambda found: found), text)
        return text


PLACEHOLDER = re.compile(r"\[(?:EMAIL|IBAN|CARD|PHONE)_\d+\]")
# Look-behinds, limits and patterns that match in one way only keep the time linear, also for a megabyte of digits.
EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[\w-]{2,63}")
IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[A-Z\d]{11,30}|(?: [A-Z\d]{4}){2,7}(?: [A-Z\d]{1,3})?)(?!\w)", re.IGNORECASE)
CARD = re.compile(r"(?<!\w)(?:\d{13,19}|\d{4}[ -]\d{6}[ -]\d{5}|(?:\d{4}[ -]){3}\d{1,4}(?:[ -]\d{1,3})?)(?!\w)")
PHONE = re.compile(
    r"""(?<![\w.+-])(?:
        (?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}                 # +49 30 1234567, 0044 (20) 7946-0958
        | \(0\d{1,5}\)[ ]?(?:\d[ ./-]?){4,9}\d                  # (030) 1234567
        | 0\d{2,4}[ ./-](?:\d[ ./-]?){5,9}\d                    # 030 1234567, 0171/123 45 67
        | 0\d(?:[ .-]\d\d){4}                                   # 06 12 34 56 78
        | 0\d{8,11}                                             # 0612345678
        | (?:1[ .-])?(?:\(\d{3}\)[ ]?|\d{3}[ .-])\d{3}[ .-]\d{4} # (415) 555-2671, 1-415-555-2671
    )(?!\w)""",
    re.VERBOSE,
)


def longest_start(text: str, valid: Callable[[str], bool]) -> str:
    """Returns the longest beginning of ``text``, cut between its groups, that is valid; empty when none is.

    A pattern may take in the next word (``4111 1111 1111 1111 737``), which must not make a number unrecognised.
    """
    cuts = [len(text), *(gap.start() for gap in reversed(list(re.finditer(r"[ -]", text))))]
    return next((text[:cut] for cut in cuts if valid(text[:cut])), "")


def is_card(text: str) -> bool:
    """Tells whether the digits are as many as a card has and their check digit (Luhn) is right."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Tells whether the length and the check digits (ISO 7064) are those of an account number."""
    compact = text.replace(" ", "").upper()
    number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return 15 <= len(compact) <= 34 and int(number) % 97 == 1


def change_text(message: dict[str, Any], change: Callable[[str], str]) -> None:
    """Applies ``change`` to the text of a message: a plain string, the text parts of a list, and output items."""
    if isinstance(message.get("content"), str):
        message["content"] = change(message["content"])
    parts = [message["content"]] if isinstance(message.get("content"), list) else []
    parts += [item["content"] for item in message.get("output") or [] if isinstance(item.get("content"), list)]
    for part in (part for group in parts for part in group):
        if isinstance(part.get("text"), str):
            part["text"] = change(part["text"])
