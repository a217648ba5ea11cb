"""The web interface of claude.ai as an upstream: requests to plans, its streams and errors to canonical ones."""

from proxy.dialects.claude_web.errors import decode_error
from proxy.dialects.claude_web.files import Attachment, Upload
from proxy.dialects.claude_web.history import History
from proxy.dialects.claude_web.limit import LimitFacts, LimitWindow
from proxy.dialects.claude_web.organizations import (
    Organization,
    choose_organization,
    decode_organizations,
)
from proxy.dialects.claude_web.plan import Plan, Prompt, PromptOptions, decode_plan, encode_plan, plan_request
from proxy.dialects.claude_web.stream import WebStreamDecoder
from proxy.dialects.claude_web.wire import (
    FIRST_PARENT,
    TurnUuids,
    WireBroken,
    decode_created,
    decode_uploaded,
    encode_completion,
    encode_create,
    encode_delete,
)

__all__ = [
    "FIRST_PARENT",
    "Attachment",
    "History",
    "LimitFacts",
    "LimitWindow",
    "Organization",
    "Plan",
    "Prompt",
    "PromptOptions",
    "TurnUuids",
    "Upload",
    "WebStreamDecoder",
    "WireBroken",
    "choose_organization",
    "decode_created",
    "decode_error",
    "decode_organizations",
    "decode_plan",
    "decode_uploaded",
    "encode_completion",
    "encode_create",
    "encode_delete",
    "encode_plan",
    "plan_request",
]
