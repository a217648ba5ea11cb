"""``/v1/files`` and ``/v1/messages/batches``: passed to the credential that holds what is asked for.

Source: the Files and Message Batches pages of Anthropic's API documentation.
"""

import asyncio
import datetime
import re
from typing import Final

import msgspec
from aiohttp import web

from proxy.access.idempotency import HEADER, REPLAYED, Answered, Unclear
from proxy.dispatch.ownership import Made
from proxy.errors import ErrorKind, GatewayError, InvalidRequest
from proxy.exchange import Operation
from proxy.log import get_logger
from proxy.server.limiting import counts_batches
from proxy.server.object_list import list_objects
from proxy.server.object_request import ObjectRequest, Work, object_handler
from proxy.server.object_view import shown_batch
from proxy.server.routes import ANTHROPIC, Access, Route
from proxy.server.spool import FormDigest, Spool, spooled
from proxy.server.upload import BatchUpload, Upload
from proxy.store.base import StoreError
from proxy.tasks import spawn
from proxy.watch import Watch

_log = get_logger("objects")
_V1: Final = ("", "/hf")
_MULTIPART: Final = re.compile(r'multipart/form-data; ?boundary=("?)[A-Za-z0-9\'()+_,./:=?-]{1,70}\1')
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _Named(msgspec.Struct):
    id: str


class _Created(_Named):
    created_at: datetime.datetime | None = None
    mime_type: str = ""


async def upload_file(asked: ObjectRequest) -> web.StreamResponse:
    """``POST /v1/files``."""
    content_type = asked.request.headers.get("content-type", "")
    if not _MULTIPART.fullmatch(content_type):
        raise InvalidRequest(
            "A file has to be sent as multipart/form-data with a boundary.", param="content-type"
        )
    if (order := asked.request.headers.get(HEADER)) is not None:
        return await _uploaded_once(asked, content_type, order)
    policy = asked.services.settings.policy
    upload = Upload(asked.request, policy.file_max_bytes, policy)
    return await _finished(asked, upload, content_type)


async def _uploaded_once(asked: ObjectRequest, content_type: str, order: str) -> web.StreamResponse:
    """The same for a file that may be sent twice: it is kept until it is known whether it came before.

    When it has come as a whole, it is passed on even if the client leaves, so that it finds the answer when it asks
    again. What is remembered is the file's id, and nothing of the file.
    """
    orders, request, policy = (
        asked.services.admission.desk.orders,
        asked.request,
        asked.services.settings.policy,
    )
    orders.arriving(asked.tenant, order)
    try:
        about = f"{request.method}\0{request.path_qs}".encode()
        spool = await spooled(
            request,
            FormDigest(about, content_type.partition("boundary=")[2].strip('"').encode()),
            policy,
            asked.services.settings.data_dir,
        )
    except BaseException:
        orders.arrived(asked.tenant, order)
        raise
    passing = spawn(_passed_on(asked, spool, content_type, order), name="pass an upload on once")
    result = await asyncio.shield(passing)
    if isinstance(result, GatewayError):
        raise result
    answered, body = result
    if body is None:
        return await _uploaded_before(asked, answered)
    return asked.json(body)


async def _passed_on(
    asked: ObjectRequest, spool: Spool, content_type: str, order: str
) -> tuple[Answered, bytes | None] | GatewayError:
    """What is remembered, and the upstream's answer unless the file was uploaded before; or what went wrong."""
    orders, made = asked.services.admission.desk.orders, list[bytes]()

    async def work(_nonce: str) -> tuple[int, bytes]:
        result = await _created(asked, spool, content_type)
        if isinstance(result, GatewayError):
            # no answer came to all of it: whether there is a file now is the upstream's secret
            unheard = spool.sent and bool(asked.trace.failed) and asked.trace.failed[-1].status == 0
            raise Unclear(result) if unheard else result
        made.append(result)
        return 200, msgspec.json.encode(msgspec.json.decode(result, type=_Named))

    try:
        answered = await orders.once_told(asked.tenant, order, spool.digest.hexdigest(), work)
    except GatewayError as error:
        return error
    finally:
        spool.close()
        orders.arrived(asked.tenant, order)
    return answered, made[0] if made else None


async def _uploaded_before(asked: ObjectRequest, answered: Answered) -> web.StreamResponse:
    """The answer to an upload that was carried out before: the file as its holder describes it."""
    held = await asked.held_object(msgspec.json.decode(answered.body, type=_Named).id)
    body = await asked.read(asked.asked(asked.call("GET", held.id), held.credential))
    response = asked.json(body)
    response.headers[REPLAYED] = "true"
    return response


async def create_batch(asked: ObjectRequest) -> web.StreamResponse:
    """``POST /v1/messages/batches``."""
    services = asked.services
    upload = BatchUpload(
        asked.request,
        services.settings.policy,
        ownership=services.ownership,
        tenant=asked.tenant,
        counts_tokens=counts_batches(services),
    )
    try:
        response = await _finished(asked, upload, "application/json")
    except asyncio.CancelledError:
        # it may have been made all the same
        asked.uncertain = upload.ended
        raise
    asked.tokens = upload.tokens
    return response


async def _finished(asked: ObjectRequest, upload: Upload, content_type: str) -> web.StreamResponse:
    """Create an object. A client that leaves ends that, unless all it had to say was said.

    Then the object may be there already, and is put down as the client's own, so that it can find and delete it.
    """
    creation = spawn(_created(asked, upload, content_type), name="create an object upstream")
    try:
        result = await asyncio.shield(creation)
    except asyncio.CancelledError:
        if not upload.ended:
            creation.cancel()
            await asyncio.wait([creation])
        raise
    if isinstance(result, GatewayError):
        raise result
    return asked.json(result)


async def _created(asked: ObjectRequest, upload: Upload | Spool, content_type: str) -> bytes | GatewayError:
    """The upstream's answer, or what went wrong: there may be nobody left to raise it to."""
    watch = Watch()
    try:
        return await _create(asked, upload, content_type, watch)
    except GatewayError as error:
        return error
    finally:
        watch.close()


async def _create(asked: ObjectRequest, upload: Upload | Spool, content_type: str, watch: Watch) -> bytes:
    services = asked.services
    owner = rather = None
    if isinstance(upload, BatchUpload):
        owner, rather = await upload.look_ahead(watch)
    call = msgspec.structs.replace(
        asked.call("POST"), content_type=content_type, content_length=upload.length_bytes
    )
    wanted = msgspec.structs.replace(asked.asked(call, owner), rather=rather, body=upload)
    opened = await services.objects.open(wanted, asked.trace, watch)
    body = await services.objects.read(opened, asked.trace, watch)
    credential = opened.lease.name
    try:
        created = msgspec.json.decode(body, type=_Created)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unreadable() from None
    if not _ID.fullmatch(created.id):
        raise _unreadable()
    made = Made(
        id=created.id,
        credential=credential,
        media_type=created.mime_type,
        created_unix_ms=_unix_ms(created.created_at),
    )
    try:
        await services.ownership.remember(asked.tenant, asked.kind, made)
    except StoreError as error:
        _log.error("object not put down", problem=str(error))
        await _undo(asked, made, watch)
        raise GatewayError(
            503,
            ErrorKind.API,
            "It could not be put down whose this is, so it was taken back.",
            retry_after_s=1.0,
        ) from None
    return _shown(asked.kind, body)


async def _undo(asked: ObjectRequest, made: Made, watch: Watch) -> None:
    """Take back what nobody could find again."""
    batch = asked.kind is Operation.BATCHES
    call = asked.call("POST", made.id, "cancel") if batch else asked.call("DELETE", made.id)
    try:
        opened = await asked.services.objects.open(asked.asked(call, made.credential), asked.trace, watch)
        await asked.services.objects.read(opened, asked.trace, watch)
    except GatewayError as error:
        _log.error("object not taken back", credential=made.credential, status=error.status)


async def get_object(asked: ObjectRequest) -> web.StreamResponse:
    """``GET /v1/files/{id}`` and ``GET /v1/messages/batches/{id}``."""
    held = await asked.named()
    body = await asked.read(asked.asked(asked.call("GET", held.id), held.credential))
    return asked.json(_shown(asked.kind, body))


async def cancel_batch(asked: ObjectRequest) -> web.StreamResponse:
    """``POST /v1/messages/batches/{id}/cancel``."""
    held = await asked.named()
    body = await asked.read(asked.asked(asked.call("POST", held.id, "cancel"), held.credential))
    return asked.json(_shown(asked.kind, body))


async def delete_object(asked: ObjectRequest) -> web.StreamResponse:
    """``DELETE /v1/files/{id}`` and ``DELETE /v1/messages/batches/{id}``."""
    held = await asked.named()
    body = await asked.read(asked.asked(asked.call("DELETE", held.id), held.credential))
    await asked.services.ownership.forget(asked.tenant, asked.kind, held.id)
    return asked.json(body)


async def file_content(asked: ObjectRequest) -> web.StreamResponse:
    """``GET /v1/files/{id}/content``."""
    held = await asked.named()
    opened = await asked.open(asked.asked(asked.call("GET", held.id, "content"), held.credential))
    return await asked.streamed(opened)


async def batch_results(asked: ObjectRequest) -> web.StreamResponse:
    """``GET /v1/messages/batches/{id}/results``: a line of JSON for each request of the batch."""
    held = await asked.named()
    opened = await asked.open(asked.asked(asked.call("GET", held.id, "results"), held.credential))
    if held.usage_counted:
        return await asked.streamed(opened)
    return await asked.streamed(opened, asked.usage_of(held))


def _shown(kind: Operation, body: bytes) -> bytes:
    return shown_batch(body) if kind is Operation.BATCHES else body


def _unix_ms(moment: datetime.datetime | None) -> int | None:
    return None if moment is None or moment.tzinfo is None else round(moment.timestamp() * 1000)


def _unreadable() -> GatewayError:
    return GatewayError(
        502,
        ErrorKind.API,
        "The upstream's answer names no object.",
        code="upstream_error",
        should_retry=False,
    )


def _route(method: str, path: str, kind: Operation, work: Work) -> Route:
    return Route(method, path, object_handler(kind, work), Access.CLIENT, ANTHROPIC, _V1)


_FILES: Final = "/v1/files"
_BATCHES: Final = "/v1/messages/batches"

OBJECT_ROUTES: Final = (
    _route("POST", _FILES, Operation.FILES, upload_file),
    _route("GET", _FILES, Operation.FILES, list_objects),
    _route("GET", _FILES + "/{id}", Operation.FILES, get_object),
    _route("GET", _FILES + "/{id}/content", Operation.FILES, file_content),
    _route("DELETE", _FILES + "/{id}", Operation.FILES, delete_object),
    _route("POST", _BATCHES, Operation.BATCHES, create_batch),
    _route("GET", _BATCHES, Operation.BATCHES, list_objects),
    _route("GET", _BATCHES + "/{id}", Operation.BATCHES, get_object),
    _route("GET", _BATCHES + "/{id}/results", Operation.BATCHES, batch_results),
    _route("POST", _BATCHES + "/{id}/cancel", Operation.BATCHES, cancel_batch),
    _route("DELETE", _BATCHES + "/{id}", Operation.BATCHES, delete_object),
)
