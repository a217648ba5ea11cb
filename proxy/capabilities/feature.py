"""The words of the table: features, the dialects they are asked for in, and what becomes of them."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Front(StrEnum):
    """A dialect of clients."""

    MESSAGES = "messages"
    CHAT = "chat_completions"
    TEXT = "completions"


class Verdict(StrEnum):
    """What becomes of a feature."""

    CARRIED = "carried"
    """The upstream does it itself."""
    EMULATED = "emulated"
    """The upstream has nothing like it, but the answer is what was asked for."""
    DROPPED = "dropped"
    """Left out, and named in ``x-carousel-dropped``."""
    REFUSED = "refused"
    """An error that names the field, where nobody else can be asked."""
    NO_FIELD = "no_field"
    """The dialect has no way to ask for it."""


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes of one feature on one path.

    Attributes:
        verdict: the word.
        field: the path under which a loss or a refusal is told, with ``[]`` for any place in a list; of an emulation,
            where it is told too that it is none of the upstream's own.
        note: what else is worth knowing.
    """

    verdict: Verdict
    field: str = ""
    note: str = ""


class Feature(StrEnum):
    """Something a client can ask for."""

    STREAMING = "streaming"
    USAGE = "usage"
    REFUSALS = "refusals"
    COUNT_TOKENS = "count_tokens"
    FILES = "files"
    BATCHES = "batches"
    SYSTEM = "system"
    SYSTEM_MIDWAY = "system_midway"
    PREFILL = "prefill"
    MESSAGE_NAMES = "message_names"
    VERBOSITY = "verbosity"
    SUFFIX = "suffix"
    ECHO = "echo"
    IMAGE_DATA = "image_data"
    IMAGE_URL = "image_url"
    IMAGE_FILE = "image_file"
    IMAGE_DETAIL = "image_detail"
    PDF_DATA = "pdf_data"
    TEXT_DOCUMENT = "text_document"
    DOCUMENT_URL = "document_url"
    DOCUMENT_FILE = "document_file"
    DOCUMENT_CONTEXT = "document_context"
    CITATIONS = "citations"
    SEARCH_RESULTS = "search_results"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    TOOLS = "tools"
    FORCED_TOOLS = "forced_tools"
    ONE_TOOL_AT_A_TIME = "one_tool_at_a_time"
    STRICT_TOOLS = "strict_tools"
    ALLOWED_TOOLS = "allowed_tools"
    CUSTOM_TOOLS = "custom_tools"
    FUNCTIONS = "functions"
    WITHHELD_TOOLS = "withheld_tools"
    TOOL_HISTORY = "tool_history"
    TOOL_ERRORS = "tool_errors"
    SERVER_TOOLS = "server_tools"
    CONTAINER = "container"
    MCP_CONNECTOR = "mcp_connector"
    CONTEXT_MANAGEMENT = "context_management"
    THREADS = "threads"
    JSON_MODE = "json_mode"
    JSON_SCHEMA = "json_schema"
    THINKING = "thinking"
    THINKING_BUDGET = "thinking_budget"
    THINKING_SIGNATURES = "thinking_signatures"
    EFFORT = "effort"
    GREATER_EFFORT = "greater_effort"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCES = "stop_sequences"
    MORE_STOP_SEQUENCES = "more_stop_sequences"
    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    TOP_K = "top_k"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    LOGIT_BIAS = "logit_bias"
    LOGPROBS = "logprobs"
    SEED = "seed"
    PREDICTION = "prediction"
    SEVERAL_ANSWERS = "several_answers"
    BEST_OF = "best_of"
    CACHE_MARKS = "cache_marks"
    CACHE_KEY = "cache_key"
    END_USER = "end_user"
    METADATA = "metadata"
    STORE = "store"
    SERVICE_TIER = "service_tier"
    SPEED = "speed"
    OTHER_FIELDS = "other_fields"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one feature; its cells follow from it.

    Attributes:
        title: for a person.
        fields: where clients of each dialect ask for it; a dialect that is not there has no field for it.
        web: what becomes of it in the canonical request on its way to claude.ai.
        openai: the same on its way to an OpenAI-compatible API.
        code: the same on its way through Claude Code.
        in_place: whether a refusal of theirs but the second names the field it is asked for in, whatever the dialect.
        asked: what becomes of it on the way into the canonical request, where the table of the dialect's fields does
            not tell.
        passing: what becomes of it where a chat client's own body goes to an OpenAI-compatible API.
    """

    title: str
    fields: Mapping[Front, str]
    web: Cell = Cell(Verdict.CARRIED)
    openai: Cell = Cell(Verdict.CARRIED)
    code: Cell = Cell(Verdict.CARRIED)
    in_place: bool = False
    asked: Mapping[Front, Cell] = {}
    passing: Cell = Cell(Verdict.CARRIED)
