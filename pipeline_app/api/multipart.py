"""A form with one file in it, read from a file and into a file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from pipeline_app.errors import RequestError

IN_MEMORY = 1024 * 1024
"""Bytes of an upload that need no file while it is looked at."""


@dataclass(frozen=True, slots=True)
class Part:
    """The file of a form: its name as the client says it, its content from the beginning, its size in bytes."""

    name: str
    content: IO[bytes]
    size: int

    def close(self) -> None:
        self.content.close()


def spool() -> IO[bytes]:
    """Returns a file without a name, beside where uploads are stored: it is gone with the process that made it."""
    folder = Path(settings.MEDIA_ROOT)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder)))


def file_in(form: IO[bytes], size: int, content_type: str) -> Part:
    """Returns the file in a form's field ``file``. Raises ``RequestError`` for a form without, or a broken one."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise _wrong(
            "Send the file as multipart/form-data, in a field named 'file'; "
            f"the Content-Type of this request is {content_type[:100] or 'missing'!r}.",
            415,
        )
    if not size:
        raise _wrong("The form is empty; send the file in a field named 'file'.")
    form.seek(0)
    keeper = _Keeper()
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(size)}
    try:
        fields, files = MultiPartParser(meta, cast(Any, form), [keeper], "utf-8").parse()
        found = files.getlist("file")
        if len(found) != 1 or len(files) != 1:
            names = ", ".join(sorted({*fields, *files})[:10]) or "none"
            raise _wrong(f"The form must have one file, in a field named 'file'; its fields are: {names[:200]}.")
    except (MultiPartParserError, RequestDataTooBig, SuspiciousOperation, ValueError) as error:
        keeper.close()
        raise _wrong(f"The form can't be read: {error}.") from None
    except BaseException:
        keeper.close()
        raise
    upload = found[0]
    return Part(str(upload.name), cast(IO[bytes], upload.file), upload.size or 0)


def _wrong(message: str, status: int = 400) -> RequestError:
    return RequestError(message, param="file", code="invalid_form", status=status)


class _Keeper(FileUploadHandler):
    """Writes each file of a form into one without a name."""

    def __init__(self) -> None:
        super().__init__()
        self._files: list[IO[bytes]] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._files.append(spool())

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._files[-1].write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[Any]:
        content = self._files[-1]
        content.seek(0)
        return UploadedFile(content, self.file_name, self.content_type, file_size, self.charset)

    def close(self) -> None:
        for file in self._files:
            file.close()
