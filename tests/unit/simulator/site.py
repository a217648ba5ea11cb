"""How the tests speak to the simulated claude.ai."""

from collections.abc import Mapping

from proxy.simulator import Simulator, Step
from proxy.simulator.web_wire import FIRST_PARENT
from tests.unit.simulator.client import Answer, ask

COOKIE = "sk-ant-sid01-one"
OTHER = "sk-ant-sid01-two"
UUID = "11111111-1111-4111-8111-111111111111"


async def visit(
    simulator: Simulator,
    method: str,
    path: str,
    body: object = None,
    *,
    cookie: str = COOKIE,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One call with a session's cookie; ``{org}`` in the path is its organization."""
    where = path.replace("{org}", simulator.site.organization_of(cookie))
    given = {"cookie": f"sessionKey={cookie}"} if cookie else {}
    return await ask(simulator, body, method=method, path=where, key="", headers={**given, **(headers or {})})


async def create(simulator: Simulator, *, uuid: str = UUID, cookie: str = COOKIE, **fields: object) -> Answer:
    """A new conversation."""
    body = {"uuid": uuid, "name": ""} | fields
    return await visit(simulator, "POST", "/api/organizations/{org}/chat_conversations", body, cookie=cookie)


async def complete(
    simulator: Simulator,
    prompt: object = "Hello",
    fields: Mapping[str, object] | None = None,
    *,
    uuid: str = UUID,
    cookie: str = COOKIE,
) -> Answer:
    """A question in a conversation."""
    body = {"prompt": prompt, "parent_message_uuid": FIRST_PARENT, **(fields or {})}
    path = f"/api/organizations/{{org}}/chat_conversations/{uuid}/completion"
    return await visit(simulator, "POST", path, body, cookie=cookie)


async def upload(
    simulator: Simulator,
    content: bytes,
    *,
    path: str = "/api/{org}/upload",
    name: str = "a.png",
    media_type: str = "image/png",
) -> Answer:
    """A file as a form."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = f"{head}Content-Type: {media_type}\r\n\r\n".encode() + content + b"\r\n--b--\r\n"
    return await visit(
        simulator, "POST", path, body, headers={"content-type": "multipart/form-data; boundary=b"}
    )


def script(simulator: Simulator, *steps: Step) -> None:
    """How the next calls of the session are answered."""
    simulator.script(COOKIE, steps)
