"""What two other programs' documents show of conversations, as they print it.

From https://github.com/ZhangHanDong/claude-code-api-rs (MIT licence) and
https://github.com/codingworkflow/claude-code-api (GPL 3), whose one example is a JSON body. `runnable` puts in what a
user puts in.
"""

from typing import Final

CLIENT: Final = """\
import openai

# Configure the client to use Claude Code API
client = openai.OpenAI(
    base_url="http://localhost:8080/v1",
    api_key="not-needed"  # API key is not required
)
"""
CONVERSATION: Final = """\
# First request - creates a new conversation
response = client.chat.completions.create(
    model="claude-opus-4-20250514",
    messages=[
        {"role": "user", "content": "My name is Alice"}
    ]
)
conversation_id = response.conversation_id

# Subsequent request - continues the conversation
response = client.chat.completions.create(
    model="claude-opus-4-20250514",
    conversation_id=conversation_id,
    messages=[
        {"role": "user", "content": "What's my name?"}
    ]
)
# Claude will remember: "Your name is Alice"
"""
CURL: Final = """\
curl -X POST http://localhost:8080/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "claude-opus-4-20250514",
    "conversation_id": "uuid-here",
    "messages": [{"role": "user", "content": "Continue our chat"}]
  }'
"""
SETTINGS: Final = """\
# Conversation management
CLAUDE_CODE__CONVERSATION__MAX_HISTORY_MESSAGES=20
CLAUDE_CODE__CONVERSATION__SESSION_TIMEOUT_MINUTES=30
"""
WITH_CONTEXT: Final = """\
{ "model": "claude-3-5-sonnet-20241022", "messages": [ {"role": "system", "content": "You are a helpful assistant."}, \
{"role": "user", "content": "My name is Alice."}, {"role": "assistant", "content": "Nice to meet you, Alice!"}, \
{"role": "user", "content": "What's my name?"} ] }
"""

_ADDRESS: Final = "http://localhost:8080"
# the SDK has no argument of this name
_ARGUMENT: Final = "conversation_id=conversation_id,"
_EXTRA: Final = 'extra_body={"conversation_id": conversation_id},'


def runnable(example: str, *, url: str, conversation: str = "") -> str:
    """An example with the address, and the id in the place that the SDK has for it."""
    text = example.replace(_ADDRESS, url).replace(_ARGUMENT, _EXTRA)
    return text.replace("uuid-here", conversation)


def environment(text: str) -> dict[str, str]:
    """The settings of a file like ``.env``."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
