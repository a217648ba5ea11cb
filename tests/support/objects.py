"""Files and batches as clients send them, and a gateway whose clients have some."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from proxy.simulator import Simulator
from tests.support.gateway import Gateway, gateway
from tests.support.house import MODEL, Answer, client, read_answer, simulated

ALICE: Final = "canary-alice-client-key-0123456789abcdef"
BOB: Final = "canary-bob-client-key-0123456789abcdef"
KEYS: Final = ("upstream-key-1", "upstream-key-2", "upstream-key-3")
BOUNDARY: Final = "a-boundary-of-ours"
MULTIPART: Final = f"multipart/form-data; boundary={BOUNDARY}"
_HEAD: Final = (
    f"--{BOUNDARY}\r\n"
    'content-disposition: form-data; name="file"; filename="{filename}"\r\ncontent-type: {media_type}\r\n\r\n'
)
_TAIL: Final = f"\r\n--{BOUNDARY}--\r\n".encode()


def multipart(content: bytes, *, filename: str = "a.txt", media_type: str = "text/plain") -> bytes:
    """A form with one file."""
    return form_head(filename, media_type) + content + _TAIL


def form_head(filename: str = "a.txt", media_type: str = "text/plain") -> bytes:
    """A form up to the first byte of its file."""
    return _HEAD.format(filename=filename, media_type=media_type).encode()


async def large_form(size_bytes: int, *, piece_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
    """A form whose file has so many bytes, made as it is sent."""
    yield form_head("large.bin", "application/octet-stream")
    piece = bytes(range(256)) * (piece_bytes // 256)
    for _ in range(size_bytes // piece_bytes):
        yield piece
    yield _TAIL


def batch(*requests: Mapping[str, object]) -> bytes:
    """The body of a batch of these requests."""
    listed = [{"custom_id": f"r{number}", "params": params} for number, params in enumerate(requests)]
    return msgspec.json.encode({"requests": listed})


def params(text: str = "Hello!", *, file_id: str = "") -> dict[str, object]:
    """One small request, which may name a file."""
    content: list[dict[str, object]] = [{"type": "text", "text": text}]
    if file_id:
        content.append({"type": "document", "source": {"type": "file", "file_id": file_id}})
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


@dataclass(frozen=True, slots=True)
class Storehouse:
    """A gateway of three credentials and two clients, in front of a simulated Claude."""

    server: Gateway
    simulator: Simulator
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        key: str = ALICE,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read the whole answer."""
        sent = {"x-api-key": key, "anthropic-version": "2023-06-01", **(headers or {})}
        url = self.server.url + path
        # the library minds large bodies as plain bytes
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.session.request(
            method, url, data=data, headers=sent, allow_redirects=False
        ) as response:
            return await read_answer(response)

    async def upload(self, content: bytes = b"words", *, key: str = ALICE, filename: str = "a.txt") -> str:
        """Upload a small file; gives its id."""
        answer = await self.ask(
            "POST",
            "/v1/files",
            multipart(content, filename=filename),
            key=key,
            headers={"content-type": MULTIPART},
        )
        assert answer.status == 200, answer.body
        return str(fields_of(answer)["id"])

    async def batched(self, *requests: Mapping[str, object], key: str = ALICE) -> str:
        """Create a batch; gives its id."""
        answer = await self.ask("POST", "/v1/messages/batches", batch(*requests or (params(),)), key=key)
        assert answer.status == 200, answer.body
        return str(fields_of(answer)["id"])

    async def says(self, request: Mapping[str, object], *, key: str = ALICE) -> Answer:
        """Ask for a message."""
        return await self.ask("POST", "/v1/messages", msgspec.json.encode(request), key=key)

    def holder(self, object_id: str) -> str:
        """The upstream key an object was made with."""
        return next(entry.key for entry in self.simulator.objects.ledger if entry.id == object_id)

    def resident_kb(self) -> int:
        """The memory the gateway takes."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def fields_of(answer: Answer) -> dict[str, object]:
    """A JSON object as it came."""
    return msgspec.json.decode(answer.body, type=dict[str, object])


def ids_of(answer: Answer) -> list[object]:
    """The ids of the objects of a list."""

    class Page(msgspec.Struct):
        data: list[dict[str, object]]

    return [one["id"] for one in msgspec.json.decode(answer.body, type=Page).data]


@asynccontextmanager
async def storehouse(
    folder: Path, settings: Mapping[str, str] | None = None, *, simulator: Simulator | None = None
) -> AsyncIterator[Storehouse]:
    """Start all of it, and end it."""
    async with simulated(simulator) as claude:
        chosen = {
            "API_KEY": f"{ALICE},{BOB}",
            "ANTHROPIC_API_KEYS": ",".join(KEYS),
            "ANTHROPIC_BASE_URL": claude.url,
            "POOL_JITTER": "0",
            "LOG_LEVEL": "warning",
            **(settings or {}),
        }
        async with gateway(folder, chosen) as server, client() as session:
            yield Storehouse(server, claude, session)
