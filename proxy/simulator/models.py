"""The models the simulated Claude has, and what each refuses.

A table of its own, not the gateway's catalog: a mistake there must not hide here. State of November 2026.
Sources: the models overview, model deprecations and migration pages of Anthropic's documentation.
"""

from typing import Literal

import msgspec

Sampling = Literal["any", "defaults", "refused"]

_ALWAYS = frozenset({"adaptive"})
_OPTIONAL = frozenset({"adaptive", "disabled"})
_MANUAL = frozenset({"enabled", "disabled"})
_BOTH = _OPTIONAL | _MANUAL
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_LONG = (1_000_000, 128_000)
_SHORT = (200_000, 64_000)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    Attributes:
        id: full id.
        name: what people call it.
        line: family.
        window: most input tokens, most output tokens.
        created: date, ISO 8601.
        thinking: types of ``thinking`` it takes.
        summarizes: whether thinking is shown when nobody says how.
        efforts: effort levels it takes; empty means the field is an error.
        sampling: whether ``temperature``, ``top_p`` and ``top_k`` are taken.
        prefill: whether the last message may be the assistant's.
        forced_tools: whether ``tool_choice`` may be ``any`` or ``tool``.
        system_turns: whether ``system`` may be a role within the messages.
        fast: whether it has a fast mode that needs no beta.
        patches: most tokens an image costs.
        lifecycle: ``active``, ``deprecated`` or ``retired``.
        retires: date, ISO 8601, where one is known.
    """

    id: str
    name: str
    line: str
    window: tuple[int, int] = _LONG
    created: str = "2026-01-01"
    thinking: frozenset[str] = _ALWAYS
    summarizes: bool = False
    efforts: tuple[str, ...] = _EFFORTS
    sampling: Sampling = "refused"
    prefill: bool = False
    forced_tools: bool = True
    system_turns: bool = True
    fast: bool = False
    patches: int = 4784
    lifecycle: str = "active"
    retires: str | None = None


def _fable(version: str, created: str, *, forced_tools: bool) -> list[Model]:
    dashed = version.replace(".", "-")
    return [
        Model(
            id=f"claude-{line}-{dashed}",
            name=f"Claude {line.title()} {version}",
            line=line,
            created=created,
            forced_tools=forced_tools,
            fast=version == "5.2",
        )
        for line in ("fable", "mythos")
    ]


def _manual(model_id: str, name: str, line: str, created: str, **facts: str | None) -> Model:
    return Model(
        id=model_id,
        name=name,
        line=line,
        created=created,
        window=_SHORT,
        thinking=_MANUAL,
        summarizes=True,
        efforts=_EFFORTS[:3] if line == "opus" else (),
        sampling="any",
        prefill=True,
        system_turns=False,
        patches=1568,
        lifecycle=facts.get("lifecycle") or "active",
        retires=facts.get("retires"),
    )


def _four_six(line: str, created: str) -> Model:
    return Model(
        id=f"claude-{line}-4-6",
        name=f"Claude {line.title()} 4.6",
        line=line,
        created=created,
        thinking=_BOTH,
        summarizes=True,
        efforts=("low", "medium", "high", "max"),
        sampling="any",
        system_turns=False,
        patches=1568,
    )


_MODELS = (
    *_fable("5.2", "2026-10-20", forced_tools=False),
    *_fable("5.1", "2026-08-31", forced_tools=False),
    *_fable("5", "2026-06-09", forced_tools=True),
    Model(
        id="claude-opus-5-5",
        name="Claude Opus 5.5",
        line="opus",
        created="2026-09-01",
        forced_tools=False,
        fast=True,
    ),
    Model(id="claude-opus-5", name="Claude Opus 5", line="opus", created="2026-07-24", thinking=_OPTIONAL),
    Model(
        id="claude-opus-4-8", name="Claude Opus 4.8", line="opus", created="2026-05-28", thinking=_OPTIONAL
    ),
    Model(
        id="claude-opus-4-7",
        name="Claude Opus 4.7",
        line="opus",
        created="2026-04-16",
        thinking=_OPTIONAL,
        system_turns=False,
    ),
    _four_six("opus", "2026-02-05"),
    _manual("claude-opus-4-5-20251101", "Claude Opus 4.5", "opus", "2025-11-01"),
    Model(
        id="claude-sonnet-5-5",
        name="Claude Sonnet 5.5",
        line="sonnet",
        created="2026-09-15",
        thinking=frozenset({"adaptive", "between_tools"}),
        sampling="defaults",
        forced_tools=False,
    ),
    Model(
        id="claude-sonnet-5",
        name="Claude Sonnet 5",
        line="sonnet",
        created="2026-06-30",
        thinking=_OPTIONAL,
        sampling="defaults",
        system_turns=False,
    ),
    _four_six("sonnet", "2026-02-17"),
    _manual(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "sonnet",
        "2025-09-29",
        lifecycle="deprecated",
        retires="2026-11-30",
    ),
    Model(
        id="claude-haiku-5-5",
        name="Claude Haiku 5.5",
        line="haiku",
        created="2026-10-01",
        thinking=_OPTIONAL,
        sampling="defaults",
    ),
    _manual("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", "2025-10-01"),
    Model(
        id="claude-mythos-preview",
        name="Claude Mythos Preview",
        line="mythos",
        created="2026-04-07",
        lifecycle="deprecated",
    ),
)
_ALIASES = {
    "claude-opus-4-5": "claude-opus-4-5-20251101",
    "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}
MODELS = {model.id: model for model in sorted(_MODELS, key=lambda model: model.created, reverse=True)}
_BY_NAME = MODELS | {alias: MODELS[full] for alias, full in _ALIASES.items()}


def find_model(name: str) -> Model | None:
    """The model of an id or alias; None for unknown and retired ones."""
    return _BY_NAME.get(name)


def _supported(*, yes: bool) -> dict[str, object]:
    return {"supported": yes}


def describe(model: Model) -> dict[str, object]:
    """A model as the models endpoint shows it."""
    efforts = {level: _supported(yes=level in model.efforts) for level in _EFFORTS}
    thinking = {
        kind: _supported(yes=kind in model.thinking)
        for kind in ("adaptive", "between_tools", "disabled", "enabled")
    }
    always = ("batch", "citations", "code_execution", "context_management", "image_input", "pdf_input")
    capabilities: dict[str, object] = {name: _supported(yes=True) for name in always}
    capabilities |= {
        "effort": {"supported": bool(model.efforts), **efforts},
        "server_tools": _supported(yes=True),
        "structured_outputs": _supported(yes=True),
        "thinking": {"supported": True, "types": thinking},
    }
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": f"{model.created}T00:00:00Z",
        "lifecycle": model.lifecycle,
        "line": model.line,
        "max_input_tokens": model.window[0],
        "max_tokens": model.window[1],
        "deprecated_at": "2026-09-30T00:00:00Z" if model.lifecycle == "deprecated" else None,
        "retires_at": f"{model.retires}T00:00:00Z" if model.retires else None,
        "capabilities": capabilities,
    }


def page_of_models(
    *, limit: int, after_id: str | None, before_id: str | None, lifecycles: frozenset[str]
) -> dict[str, object]:
    """One page of the list, newest first; an unknown cursor gives the empty page."""
    known = [model for model in MODELS.values() if model.lifecycle in lifecycles]
    ids = [model.id for model in known]
    for cursor in (after_id, before_id):
        if cursor is not None and cursor not in ids:
            known, ids = [], []
    if after_id is not None and ids:
        known = known[ids.index(after_id) + 1 :]
    elif before_id is not None and ids:
        known = known[: ids.index(before_id)]
    page = known[-limit:] if before_id is not None else known[:limit]
    return {
        "data": [describe(model) for model in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": len(known) > len(page),
    }
