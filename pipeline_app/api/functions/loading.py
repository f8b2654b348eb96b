"""Code fetched from an address on behalf of an author."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from functions_app.roles import AUTHOR
from pipeline_app import remote
from pipeline_app.api.base import AsyncAPIView, json_response
from pipeline_app.api.openapi import describe
from pipeline_app.api.shapes import functions as shapes
from pipeline_app.bodies import wrong_type
from pipeline_app.errors import RequestError


class LoadFromURLView(AsyncAPIView):
    """``POST /api/v1/functions/load/url``: the code behind an address, to be looked at before it is created."""

    scope = "functions"
    permissions = {"POST": (AUTHOR,)}

    @describe("Fetch code from an address", body=shapes.URL_FORM, answer=shapes.LOADED, errors=(400,))
    async def post(self, request: Request) -> HttpResponse:
        """Fetches a text file and stores nothing. Pages of GitHub lead to the file they show."""
        url = self.body().get("url")
        if url is None:
            raise RequestError("Missing required parameter: 'url'.", param="url", code="missing_required_parameter")
        if not isinstance(url, str):
            raise wrong_type("url", "a string", url)
        try:
            found = await remote.load(url)
        except remote.NotAllowed as error:
            raise RequestError(str(error), param="url", code="url_not_allowed") from None
        except remote.FetchFailed as error:
            raise RequestError(str(error), param="url", code="fetch_failed") from None
        return json_response({"name": found.name, "content": found.content})
