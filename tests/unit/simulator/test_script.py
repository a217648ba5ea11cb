"""The order in which scripted steps are taken."""

import msgspec
import pytest

from proxy.simulator.script import ANY_KEY, Pace, Scripts, Step


def _names(scripts: Scripts, key: str, *paths: str) -> list[str | None]:
    steps = [scripts.next(key, path) for path in paths]
    return [step.do if step is not None else None for step in steps]


def test_steps_are_taken_in_order_and_then_the_rest_follows() -> None:
    """``times`` repeats a step, ``then`` never ends."""
    scripts = Scripts()
    scripts.set("k", [Step("raw", times=2), Step("delay")], then=Step("status"))
    assert _names(scripts, "k", *"/" * 5) == ["raw", "raw", "delay", "status", "status"]


def test_without_then_a_key_is_served_well_again() -> None:
    """None is the default success."""
    scripts = Scripts()
    scripts.set("k", [Step("raw")])
    assert _names(scripts, "k", "/", "/") == ["raw", None]


def test_a_step_may_wait_for_its_path() -> None:
    """A health probe must not use up the step meant for a message."""
    scripts = Scripts()
    scripts.set("k", [Step("raw", path="/v1/messages"), Step("delay")], then=Step("status", path="/v1/me"))
    assert _names(scripts, "k", "/v1/models", "/v1/models", "/v1/messages", "/v1/messages") == [
        "delay",
        None,
        "raw",
        "status",
    ]


def test_any_key_speaks_for_keys_without_a_script() -> None:
    """A key's own script wins, even when it is used up."""
    scripts = Scripts()
    scripts.set(ANY_KEY, [], then=Step("raw"))
    scripts.set("k", [])
    assert _names(scripts, "other", "/") == ["raw"]
    assert _names(scripts, "k", "/") == [None]
    scripts.clear()
    assert _names(scripts, "other", "/") == [None]


@pytest.mark.parametrize(
    "text",
    [
        '{"times": 0}',
        '{"seconds": -1}',
        '{"ping_every_s": -1}',
        '{"bytes_per_s": 0}',
        '{"after": -1}',
        '{"at_byte": -1}',
        '{"sizes": [0]}',
        '{"status": 20}',
        '{"headers": {"a": "b\\r\\nc: d"}}',
        '{"unknown": 1}',
        '{"how": "gently"}',
        '{"pace": {"tokens_per_s": 0}}',
        '{"pace": {"first_token_delay_s": -1}}',
        '{"pace": {"events": 0}}',
    ],
)
def test_a_step_that_makes_no_sense_is_refused(text: str) -> None:
    """Steps also come from other processes."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Step)


def test_a_step_survives_the_wire() -> None:
    """Bytes travel as base64, nested steps as objects."""
    step = Step("delay", seconds=1, next=Step("raw", body_bytes=b"\xff"), pace=Pace(tokens_per_s=2))
    assert msgspec.json.decode(msgspec.json.encode(step), type=Step) == step
