"""What providers say of usage, in one shape."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_INPUT = ("input_tokens", "prompt_tokens", "prompt_eval_count", "prompt_n")
_OUTPUT = ("output_tokens", "completion_tokens", "eval_count", "predicted_n")


def normalize_usage(usage: Any) -> Json:
    """Returns usage with ``input_tokens``, ``output_tokens`` and ``total_tokens`` beside what it had."""
    if not isinstance(usage, dict) or not usage:
        return {}
    read = next((usage[name] for name in _INPUT if usage.get(name)), 0)
    written = next((usage[name] for name in _OUTPUT if usage.get(name)), 0)
    total = usage.get("total_tokens") or read + written
    return {**usage, "input_tokens": int(read), "output_tokens": int(written), "total_tokens": int(total)}


def merge_usage(current: Any, new: Any) -> Json:
    """Returns the usage of two answers together: numbers added, also in the details."""
    merged: Json = dict(current or {})
    for name, value in (new or {}).items():
        own = merged.get(name)
        if isinstance(value, dict):
            merged[name] = merge_usage(own if isinstance(own, dict) else {}, value)
        elif _is_number(value) and _is_number(own):
            merged[name] = own + value
        else:
            merged[name] = value
    return merged


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
