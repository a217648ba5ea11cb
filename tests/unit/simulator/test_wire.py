"""The parts of a request the model looks at."""

import msgspec
import pytest

from proxy.simulator.wire import Block, MessagesRequest, blocks_of, last_user_blocks, texts_of


def test_blocks_of_every_type_are_accepted() -> None:
    """A new block type must not be a 400."""
    block = msgspec.json.decode(
        b'{"type":"new_thing","novelty":{"a":[1]},"content":{"type":"x"}}', type=Block
    )
    assert (block.type, block.content) == ("new_thing", {"type": "x"})


def test_a_field_nobody_knows_is_refused_at_the_top_only() -> None:
    """As in the real API."""
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "a", "novelty": 1}]}
    assert msgspec.json.decode(msgspec.json.encode(body), type=MessagesRequest).max_tokens == 1
    with pytest.raises(msgspec.ValidationError, match="novelty"):
        msgspec.json.decode(msgspec.json.encode(body | {"novelty": 1}), type=MessagesRequest)


def test_text_is_found_in_strings_and_in_blocks() -> None:
    """Both forms of content mean the same."""
    blocks = [Block(type="text", text="a"), Block(type="image"), Block(type="text", text="b")]
    assert (texts_of("a\nb"), texts_of(blocks)) == ("a\nb", "a\nb")
    assert texts_of(blocks_of("a")) == "a"


def test_the_last_user_message_is_found_behind_others() -> None:
    """A prefill or a system turn may follow it."""
    body = {
        "model": "m",
        "max_tokens": 1,
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "user", "content": "last"},
            {"role": "assistant", "content": "pre"},
        ],
    }
    request = msgspec.json.decode(msgspec.json.encode(body), type=MessagesRequest)
    assert texts_of(last_user_blocks(request.messages)) == "last"
    assert last_user_blocks([]) == []
