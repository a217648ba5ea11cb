"""A store in memory that keeps responses too, for the tests of the server."""

from dataclasses import dataclass, field, replace

from proxy.store.base import ResponseRow
from tests.unit.dispatch.building import MemoryStore


@dataclass(slots=True)
class MemoryStorage(MemoryStore):
    """See `Storage`; it can be told to fail, as its base can.

    Attributes:
        responses: what was saved, by id.
    """

    responses: dict[str, ResponseRow] = field(default_factory=dict)

    async def save_response(self, row: ResponseRow) -> None:
        """See `Responses.save_response`."""
        self._check()
        self.responses[row.id] = row

    async def load_response(self, response_id: str, owner: str, now_unix_ms: int) -> ResponseRow | None:
        """See `Responses.load_response`."""
        self._check()
        row = self.responses.get(response_id)
        return row if row is not None and row.owner == owner and row.expires_unix_ms > now_unix_ms else None

    async def load_chain(
        self, response_id: str, owner: str, now_unix_ms: int, most_bytes: int
    ) -> tuple[ResponseRow, ...]:
        """See `Responses.load_chain`."""
        found: list[ResponseRow] = []
        wanted: str | None = response_id
        left_bytes = most_bytes
        while (
            wanted is not None and (row := await self.load_response(wanted, owner, now_unix_ms)) is not None
        ):
            left_bytes -= len(row.input.encode()) + len(row.response.encode())
            if left_bytes < 0:
                break
            found.insert(0, row)
            wanted = row.previous_id
        return tuple(found)

    async def prolong_chain(self, response_id: str, owner: str, now_unix_ms: int, until_unix_ms: int) -> None:
        """See `Responses.prolong_chain`."""
        for row in await self.load_chain(response_id, owner, now_unix_ms, 2**62):
            until_ms = max(row.expires_unix_ms, until_unix_ms)
            self.responses[row.id] = replace(row, expires_unix_ms=until_ms)

    async def delete_response(self, response_id: str, owner: str, now_unix_ms: int) -> bool:
        """See `Responses.delete_response`."""
        if await self.load_response(response_id, owner, now_unix_ms) is None:
            return False
        del self.responses[response_id]
        return True

    async def forget_responses(self, now_unix_ms: int) -> bool:
        """See `Responses.forget_responses`."""
        self._check()
        self.responses = {
            name: row for name, row in self.responses.items() if row.expires_unix_ms > now_unix_ms
        }
        return False

    def _check(self) -> None:
        if self.problem is not None:
            raise self.problem
