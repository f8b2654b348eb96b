"""How a view says what it takes and gives, for the schema at ``/api/schema/``.

Shapes are JSON schemas written as dicts (``pipeline_app/api/shapes``), since the views read and write plain JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from pipeline_app.api.shapes.errors import ERROR

Shape = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


def describe(
    summary: str,
    *,
    answer: Shape | None = None,
    body: Shape | None = None,
    body_type: str = "application/json",
    query: Mapping[str, Shape] | None = None,
    status: int = 200,
    also: Mapping[int, Shape] | None = None,
    errors: Iterable[int] = (),
    content: str = "application/json",
    also_as: Iterable[str] = (),
    frames: str = "",
    any_error: bool = False,
    tags: Iterable[str] = (),
) -> Callable[[F], F]:
    """Returns a decorator for a method of a view: its ``summary``, the shape of its answer and of its body.

    ``also`` are further good statuses with their shapes, ``errors`` the statuses beyond 401, 403 and 429, which any
    route may answer. ``query`` are optional parameters by name. ``content`` is the type of the good answer, which may
    come ``also_as`` others; ``frames`` says what the data of server-sent events is, where it may be a stream.
    ``any_error``: it runs functions, which may answer with any status. A shape with a ``title`` becomes a component of
    that name.
    """
    responses: dict[Any, Any] = {(status, content): answer if answer is not None else OpenApiTypes.ANY}
    responses |= {(status, other): answer for other in also_as}
    if frames:
        # Without a type: readers of schemas disagree on whether it is that of the text or of one event.
        responses[status, "text/event-stream"] = {"description": frames}
    responses |= {(code, "application/json"): shape for code, shape in (also or {}).items()}
    for code in sorted({401, 403, 429, *errors}):
        responses[code] = OpenApiResponse(response=ERROR)
    if any_error:
        responses |= {"4XX": OpenApiResponse(response=ERROR), "5XX": OpenApiResponse(response=ERROR)}
    parameters = [
        OpenApiParameter(name, shape, OpenApiParameter.QUERY, required=False, description=shape.get("description", ""))
        for name, shape in (query or {}).items()
    ]
    decorate: Callable[[F], F] = extend_schema(
        summary=summary,
        request={body_type: body} if body is not None else None,
        responses=responses,
        parameters=parameters,
        tags=list(tags) or None,
    )
    return decorate
