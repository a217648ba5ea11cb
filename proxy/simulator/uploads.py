"""A file on its way to the simulated API: read as it comes, weighed and hashed, and never kept.

Source of the grammar: RFC 7578 and RFC 2046.
"""

import hashlib
import re
from typing import Final

import msgspec

_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)"?')
_NAME: Final = re.compile(r'; name="([^"]*)"')
_FILENAME: Final = re.compile(r'; filename="([^"]*)"')
_TYPE: Final = re.compile(r"^content-type: *(\S+)", re.IGNORECASE | re.MULTILINE)
_FIELD_MAX_BYTES: Final = 4096
_PART_HEAD_MAX_BYTES: Final = 16 * 1024


class UploadFault(msgspec.Struct, frozen=True):
    """What goes wrong in the middle of an upload.

    Attributes:
        after_bytes: once so many bytes of the body have come.
        status: answered then; 0 for a connection that is reset.
    """

    after_bytes: int
    status: int = 0


class UploadBroken(Exception):
    """The upload ends here; `status` is answered, or nothing where it is 0."""

    def __init__(self, status: int) -> None:
        super().__init__("the upload ends here")
        self.status = status


class Upload:
    """One body of ``multipart/form-data``.

    Attributes:
        size_bytes: of the whole body so far.
        file_bytes: of the part named ``file`` so far.
        filename: of that part.
        media_type: of that part.
        fields: the other parts, as text.
        whole: whether the closing boundary has come.
    """

    def __init__(self, content_type: str, fault: UploadFault | None = None) -> None:
        found = _BOUNDARY.search(content_type)
        self._delimiter = b"\r\n--" + (found[1].encode("latin-1") if found is not None else b"")
        # the first boundary has no line before it
        self._waiting = bytearray(b"\r\n")
        self._fault = fault
        self._part = ""
        self._in_part = False
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self.file_bytes = 0
        self.filename: str | None = None
        self.media_type = ""
        self.fields: dict[str, str] = {}
        self.whole = False

    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
        return self._hash.hexdigest()

    def feed(self, data: bytes) -> None:
        """Take what has arrived. Raises UploadBroken where that was the fault's turn."""
        self.size_bytes += len(data)
        if self._fault is not None and self.size_bytes >= self._fault.after_bytes:
            raise UploadBroken(self._fault.status)
        self._waiting += data
        while not self.whole and self._step():
            pass

    def _step(self) -> bool:
        """Read on; False while bytes are missing."""
        waiting = self._waiting
        if not self._in_part:
            return self._read_head()
        end = waiting.find(self._delimiter)
        if end < 0:
            # the end of what is here may be the beginning of a boundary
            self._take(len(waiting) - len(self._delimiter))
            return False
        self._take(end)
        self._in_part = False
        return True

    def _read_head(self) -> bool:
        """Read a boundary and the head of the part after it."""
        waiting, after = self._waiting, len(self._delimiter)
        if waiting[after : after + 2] == b"--":
            self.whole = True
            return False
        end = waiting.find(b"\r\n\r\n")
        if end < 0:
            if len(waiting) > _PART_HEAD_MAX_BYTES:
                raise UploadBroken(400)
            return False
        head = waiting[after:end].decode("utf-8", "replace")
        del waiting[: end + 4]
        name = _NAME.search(head)
        self._part = name[1] if name is not None else ""
        if self._part == "file":
            filename, media_type = _FILENAME.search(head), _TYPE.search(head)
            self.filename = filename[1] if filename is not None else "unnamed"
            self.media_type = media_type[1] if media_type is not None else "application/octet-stream"
        self._in_part = True
        return True

    def _take(self, count: int) -> None:
        if count <= 0:
            return
        content = bytes(self._waiting[:count])
        del self._waiting[:count]
        if self._part == "file":
            self.file_bytes += count
            self._hash.update(content)
        else:
            known = self.fields.get(self._part, "")
            self.fields[self._part] = (known + content.decode("utf-8", "replace"))[:_FIELD_MAX_BYTES]
