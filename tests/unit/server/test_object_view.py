"""A batch's results lie where the client has a key."""

import msgspec
import pytest

from proxy.server.object_view import shown_batch


def test_the_address_of_results_becomes_a_path_of_ours() -> None:
    """SDKs follow it with the client's key, which the upstream must never see."""
    upstream = {"id": "msgbatch_1", "results_url": "https://api.test/v1/x", "new_field": {"a": [1]}}
    found = msgspec.json.decode(shown_batch(msgspec.json.encode(upstream)))
    assert found == {**upstream, "results_url": "/v1/messages/batches/msgbatch_1/results"}


@pytest.mark.parametrize("body", [b'{"id":"msgbatch_1","results_url":null, "x":1}', b'{"id":7}', b"no json"])
def test_everything_else_stays_as_it_is(body: bytes) -> None:
    """Byte by byte: what an upstream says is not ours to rewrite."""
    assert shown_batch(body) == body
