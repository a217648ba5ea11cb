"""The ceiling: a bare relay on the same framework, with the same translation and nothing else.

No keys, no pool, no health, no limits, no log, no errors worth the name. What the gateway costs on top of this is
what its promises cost.
"""

import argparse
import asyncio
import datetime

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

from proxy.dialects.anthropic import StreamDecoder, decode_message, encode_request
from proxy.dialects.common import Rendering, Target
from proxy.dialects.openai_chat import OpenAIChatDialect
from proxy.model.catalog import Catalog

_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "anthropic-version": "2023-06-01",
    "x-api-key": "bench",
}
_EVENT_MAX_BYTES = 8 * 1024 * 1024


class Relay:
    """One upstream, two endpoints."""

    def __init__(self, upstream: str) -> None:
        self._url = URL(f"{upstream}/v1/messages")
        self._chat = OpenAIChatDialect()
        self._catalog = Catalog.load()
        self._session: aiohttp.ClientSession

    async def open(self, _: web.Application) -> None:
        """Make the client session."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self, _: web.Application) -> None:
        """Close it."""
        await self._session.close()

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Verbatim."""
        body = await request.read()
        async with self._session.post(self._url, data=body, headers=_HEADERS, allow_redirects=False) as reply:
            if reply.content_type != "text/event-stream":
                return web.Response(body=await reply.read(), content_type="application/json")
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            while chunk := await reply.content.readany():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Translated."""
        body = await request.read()
        envelope = self._chat.peek(body)
        facts = self._catalog.facts(envelope.model)
        translated = self._chat.decode_request(
            body, Target(facts=facts, model=facts.id, stream=envelope.stream)
        )
        created_s = int(datetime.datetime.now(datetime.UTC).timestamp())
        rendering = Rendering(
            request_id="req_bench", created_s=created_s, model=facts.id, include_usage=envelope.include_usage
        )
        data = encode_request(translated.request)
        async with self._session.post(self._url, data=data, headers=_HEADERS, allow_redirects=False) as reply:
            if not envelope.stream:
                whole = self._chat.encode_message(decode_message(await reply.read()), rendering)
                return web.Response(body=whole, content_type="application/json")
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            decoder = StreamDecoder(_EVENT_MAX_BYTES)
            encoder = self._chat.stream_encoder(rendering)
            while chunk := await reply.content.readany():
                if frames := encoder.encode(decoder.feed(chunk)):
                    await response.write(frames)
            await response.write_eof()
            return response


def main() -> None:
    """``python -m tests.bench.relay --upstream URL --port N``: serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    relay = Relay(options.upstream)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/messages", relay.messages)
    app.router.add_post("/v1/chat/completions", relay.chat)
    app.on_startup.append(relay.open)
    app.on_cleanup.append(relay.close)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(
        app, host="127.0.0.1", port=options.port, access_log=None, handler_cancellation=True, print=None
    )


if __name__ == "__main__":
    main()
