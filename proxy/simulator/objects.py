"""Files and batches of the simulated API, and the ledger of what became of them.

Source: the Files and Message Batches pages of Anthropic's API documentation.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

import msgspec

from proxy.clock import Clock
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.simulator.uploads import Upload, UploadFault
from proxy.simulator.wire import Block, Message, Source

FILES_PATH: Final = "/v1/files"
BATCHES_PATH: Final = "/v1/messages/batches"
JSON_LINES: Final = "application/x-jsonl"
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PAGE_MAX: Final = 1000
_DAY_MS: Final = 24 * 3600 * 1000
_PADDING_BYTES: Final = 1024 * 1024
_encoder = msgspec.json.Encoder()


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger.

    Attributes:
        what: ``made``, ``deleted`` or ``canceled``.
        id: of the file or batch.
        key: who did it.
    """

    what: str
    id: str
    key: str


class StoredFile(msgspec.Struct):
    """A file; its content is kept only where a tool made it.

    Attributes:
        organization: whose it is.
        sha256: of the content, in hexadecimal.
        content: what can be downloaded; None for an uploaded file.
        view: what clients see of it.
    """

    organization: str
    sha256: str
    content: bytes | None
    view: dict[str, object]


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One request of a batch."""

    custom_id: str
    params: msgspec.Raw


class _BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[BatchRequest]


class Batch(msgspec.Struct):
    """A batch.

    Attributes:
        organization: whose it is.
        requests: what it asks.
        view: what clients see of it.
        headers: those it was created with.
    """

    organization: str
    requests: list[BatchRequest]
    view: dict[str, object]
    headers: dict[str, str]


class ObjectReply(msgspec.Struct, frozen=True):
    """An answer: its body in pieces, and their type."""

    pieces: list[bytes]
    content_type: str = "application/json"


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A request about objects.

    Attributes:
        method: GET for HEAD too.
        path: without the query.
        query: what follows the question mark.
        headers: by lower-case name.
        body: whole, but for uploads.
        upload: the file, where one was sent.
        key: what it authenticated with.
        organization: of that key.
        url: of the server.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    upload: Upload | None
    key: str
    organization: str
    url: str


class Objects:
    """All files and batches of one server.

    Attributes:
        files: by id.
        batches: by id.
        ledger: what was done to them, in order.
        upload_faults: what goes wrong in the uploads of a key.
        batches_linger: whether batches go on until they are canceled; else they have ended when they are looked at.
        padding_mib: lines of 1 MiB each that the results of a batch end with.
        knows_ids: whether some files can be asked for at once.
    """

    def __init__(self, clock: Clock, answer: Callable[[bytes, Mapping[str, str]], bytes]) -> None:
        """`answer` makes the message for a request of a batch; raises GatewayError."""
        self._clock = clock
        self._answer = answer
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._made = 0
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self.ledger: list[Entry] = []
        self.upload_faults: dict[str, UploadFault] = {}
        self.batches_linger = False
        self.padding_mib = 0
        self.knows_ids = True

    def begin_upload(self, key: str, content_type: str) -> Upload:
        """A file begins to come."""
        return Upload(content_type, self.upload_faults.get(key))

    def make_file(
        self, organization: str, content: bytes, *, filename: str = "chart.png", media_type: str = "image/png"
    ) -> str:
        """A file a tool made, which can be downloaded. Gives its id."""
        return self._keep_file(organization, filename, media_type, len(content), content=content)

    def check_named(self, messages: Iterable[Message], organization: str) -> None:
        """Raises GatewayError for a file that is not the organization's."""
        for message in messages:
            if not isinstance(message.content, str):
                self._check_blocks(message.content, organization)

    def reply(self, asking: Asking) -> ObjectReply:
        """Answer a request. Raises GatewayError."""
        if "anthropic-version" not in asking.headers:
            raise InvalidRequest("anthropic-version: header is required")
        files = asking.path.startswith(FILES_PATH)
        root = FILES_PATH if files else BATCHES_PATH
        id_, _, part = asking.path.removeprefix(root).strip("/").partition("/")
        if files:
            return self._about_file(asking, id_, part)
        return self._about_batch(asking, id_, part)

    def _about_file(self, asking: Asking, file_id: str, part: str) -> ObjectReply:
        match asking.method, bool(file_id), part:
            case "POST", False, "":
                return ObjectReply([self._upload(asking)])
            case "GET", False, "":
                views = [one.view for one in self.files.values() if one.organization == asking.organization]
                return ObjectReply([_page(asking.query, views, knows_ids=self.knows_ids)])
            case "GET", True, "":
                return ObjectReply([_encoder.encode(self._file(asking, file_id).view)])
            case "GET", True, "content":
                found = self._file(asking, file_id)
                if found.content is None:
                    raise InvalidRequest("File is not downloadable.")
                return ObjectReply([found.content], str(found.view["mime_type"]))
            case "DELETE", True, "":
                self._file(asking, file_id)
                del self.files[file_id]
                self.ledger.append(Entry("deleted", file_id, asking.key))
                return ObjectReply([_encoder.encode({"id": file_id, "type": "file_deleted"})])
            case _:
                raise _not_found("Not Found")

    def _about_batch(self, asking: Asking, batch_id: str, part: str) -> ObjectReply:
        match asking.method, bool(batch_id), part:
            case "POST", False, "":
                return ObjectReply([self._create_batch(asking)])
            case "GET", False, "":
                found = [one for one in self.batches.values() if one.organization == asking.organization]
                return ObjectReply([_page(asking.query, [self._looked_at(one) for one in found])])
            case "GET", True, "":
                return ObjectReply([_encoder.encode(self._looked_at(self._batch(asking, batch_id)))])
            case "GET", True, "results":
                return ObjectReply(self._results(self._batch(asking, batch_id)), JSON_LINES)
            case "POST", True, "cancel":
                return ObjectReply([self._cancel(asking, batch_id)])
            case "DELETE", True, "":
                if self._batch(asking, batch_id).view["processing_status"] != "ended":
                    raise InvalidRequest("A batch can be deleted only once it has ended.")
                del self.batches[batch_id]
                self.ledger.append(Entry("deleted", batch_id, asking.key))
                return ObjectReply([_encoder.encode({"id": batch_id, "type": "message_batch_deleted"})])
            case _:
                raise _not_found("Not Found")

    def _upload(self, asking: Asking) -> bytes:
        upload = asking.upload
        if upload is None or not upload.whole or upload.filename is None:
            raise InvalidRequest("file: Field required")
        file_id = self._keep_file(
            asking.organization,
            upload.filename,
            upload.media_type,
            upload.file_bytes,
            sha256=upload.sha256,
            expires_in_s=int(upload.fields.get("expires_in_seconds", "0")),
        )
        self.ledger.append(Entry("made", file_id, asking.key))
        return _encoder.encode(self.files[file_id].view)

    def _keep_file(
        self,
        organization: str,
        filename: str,
        media_type: str,
        size_bytes: int,
        *,
        sha256: str = "",
        content: bytes | None = None,
        expires_in_s: int = 0,
    ) -> str:
        file_id = self._next_id("file")
        view: dict[str, object] = {
            "id": file_id,
            "type": "file",
            "filename": filename,
            "mime_type": media_type,
            "size_bytes": size_bytes,
            "created_at": self._moment(),
            "downloadable": content is not None,
            "expires_at": self._moment(expires_in_s * 1000) if expires_in_s else None,
        }
        self.files[file_id] = StoredFile(organization, sha256, content, view)
        return file_id

    def _create_batch(self, asking: Asking) -> bytes:
        try:
            requests = msgspec.json.decode(asking.body, type=_BatchBody).requests
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"requests: {error}") from None
        if not requests:
            raise InvalidRequest("requests: List should have at least 1 item")
        if any(not _CUSTOM_ID.fullmatch(one.custom_id) for one in requests):
            raise InvalidRequest("requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'")
        if len({one.custom_id for one in requests}) != len(requests):
            raise InvalidRequest("requests: custom_id must be unique")
        batch_id = self._next_id("msgbatch")
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        view: dict[str, object] = {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": {**counts, "processing": len(requests)},
            "created_at": self._moment(),
            "expires_at": self._moment(_DAY_MS),
            "ended_at": None,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": None,
        }
        self.batches[batch_id] = Batch(asking.organization, requests, view, asking.headers)
        self.ledger.append(Entry("made", batch_id, asking.key))
        # what a client sees of it later points to where it asked
        view["_url"] = f"{asking.url}{BATCHES_PATH}/{batch_id}/results"
        return _encoder.encode({name: value for name, value in view.items() if name != "_url"})

    def _looked_at(self, batch: Batch) -> dict[str, object]:
        view = batch.view
        canceling = view["processing_status"] == "canceling"
        if canceling or (view["processing_status"] == "in_progress" and not self.batches_linger):
            done = "canceled" if canceling else "succeeded"
            counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
            view |= {
                "processing_status": "ended",
                "request_counts": {**counts, done: len(batch.requests)},
                "ended_at": self._moment(),
                "results_url": view["_url"],
            }
        return {name: value for name, value in view.items() if name != "_url"}

    def _cancel(self, asking: Asking, batch_id: str) -> bytes:
        view = self._batch(asking, batch_id).view
        if view["processing_status"] == "in_progress":
            view |= {"processing_status": "canceling", "cancel_initiated_at": self._moment()}
            self.ledger.append(Entry("canceled", batch_id, asking.key))
        return _encoder.encode({name: value for name, value in view.items() if name != "_url"})

    def _results(self, batch: Batch) -> list[bytes]:
        if batch.view["processing_status"] != "ended":
            raise _not_found("The batch has no results yet.")
        canceled = batch.view["cancel_initiated_at"] is not None
        lines = [self._result(one, batch.headers, canceled=canceled) for one in batch.requests]
        padding = _encoder.encode(
            {"custom_id": "padding", "result": {"type": "expired"}, "_": "x" * _PADDING_BYTES}
        )
        return lines + [padding[: _PADDING_BYTES - 3] + b'"}\n'] * self.padding_mib

    def _result(self, request: BatchRequest, headers: Mapping[str, str], *, canceled: bool) -> bytes:
        custom_id = _encoder.encode(request.custom_id)
        if canceled:
            return b'{"custom_id":%b,"result":{"type":"canceled"}}\n' % custom_id
        try:
            message = self._answer(bytes(request.params), headers)
        except GatewayError as error:
            told = {"type": "error", "error": {"type": error.kind, "message": error.message}}
            result = _encoder.encode({"type": "errored", "error": told})
            return b'{"custom_id":%b,"result":%b}\n' % (custom_id, result)
        return b'{"custom_id":%b,"result":{"type":"succeeded","message":%b}}\n' % (custom_id, message)

    def _file(self, asking: Asking, file_id: str) -> StoredFile:
        found = self.files.get(file_id)
        if found is None or found.organization != asking.organization:
            raise _not_found(f"File not found: {file_id}")
        return found

    def _batch(self, asking: Asking, batch_id: str) -> Batch:
        found = self.batches.get(batch_id)
        if found is None or found.organization != asking.organization:
            raise _not_found(f"Message batch not found: {batch_id}")
        return found

    def _check_blocks(self, blocks: Sequence[Block], organization: str) -> None:
        for block in blocks:
            if isinstance(block.source, Source) and block.source.type == "file":
                found = self.files.get(block.source.file_id)
                if found is None or found.organization != organization:
                    raise _not_found(f"File not found: {block.source.file_id}")
            if isinstance(block.content, list):
                self._check_blocks(block.content, organization)

    def _next_id(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}_sim{self._made:020d}"

    def _moment(self, later_ms: int = 0) -> str:
        seconds = (self._clock.unix_ms() + later_ms) / 1000
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def is_about_objects(path: str) -> bool:
    """Whether a path is one of files or batches."""
    return path.startswith((FILES_PATH, BATCHES_PATH))


def _page(query: str, views: list[dict[str, object]], *, knows_ids: bool = False) -> bytes:
    """One page of a list, newest first."""
    given = parse_qs(query)
    newest = views[::-1]
    ids = given.get("ids[]", given.get("ids", []))
    if ids and knows_ids:
        return _encoder.encode({"data": [one for one in newest if one["id"] in ids], "next_page": None})
    limit = given.get("limit", ["20"])[-1]
    if not limit.isdigit() or not 1 <= int(limit) <= _PAGE_MAX:
        raise InvalidRequest(f"limit: Input should be between 1 and {_PAGE_MAX}")
    known = [one["id"] for one in newest]
    after, before = given.get("after_id", [None])[-1], given.get("before_id", [None])[-1]
    if after is not None:
        newest = newest[known.index(after) + 1 :] if after in known else []
    elif before is not None:
        newest = newest[: known.index(before)] if before in known else []
    page = newest[-int(limit) :] if before is not None else newest[: int(limit)]
    return _encoder.encode(
        {
            "data": page,
            "has_more": len(newest) > len(page),
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
    )


def _not_found(message: str) -> GatewayError:
    return GatewayError(404, ErrorKind.NOT_FOUND, message)
