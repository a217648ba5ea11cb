"""The configurations and curl lines that users of Claude2Api have in their files, as its README prints them.

From https://github.com/yushangxiao/claude2api (MIT licence). `filled` puts in what a user puts in.
"""

import re
import shlex
from typing import Final

DOCKER: Final = """\
docker run -d \\
  -p 8080:8080 \\
  -e SESSIONS=sk-ant-sid01-xxxx,sk-ant-sid01-yyyy \\
  -e APIKEY=123 \\
  -e CHAT_DELETE=true \\
  -e MAX_CHAT_HISTORY_LENGTH=10000 \\
  -e NO_ROLE_PREFIX=false \\
  -e PROMPT_DISABLE_ARTIFACTS=false \\
  --name claude2api \\
  ghcr.io/yushangxiao/claude2api:latest
"""
COMPOSE: Final = """\
    environment:
      - SESSIONS=sk-ant-sid01-xxxx,sk-ant-sid01-yyyy
      - ADDRESS=0.0.0.0:8080
      - APIKEY=123
      - PROXY=http://proxy:2080  # Optional
      - CHAT_DELETE=true
      - MAX_CHAT_HISTORY_LENGTH=10000
      - NO_ROLE_PREFIX=false
      - PROMPT_DISABLE_ARTIFACTS=true
    restart: unless-stopped
"""
DIRECT: Final = """\
export SESSIONS=sk-ant-sid01-xxxx,sk-ant-sid01-yyyy
export ADDRESS=0.0.0.0:8080
export APIKEY=123
"""
CHAT: Final = """\
curl -X POST http://localhost:8080/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -d '{
    "model": "claude-3-7-sonnet-20250219",
    "messages": [
      {
        "role": "user",
        "content": "Hello, Claude!"
      }
    ],
    "stream": true
  }'
"""
IMAGE: Final = """\
curl -X POST http://localhost:8080/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -d '{
    "model": "claude-3-7-sonnet-20250219",
    "messages": [
      {
        "role": "user",
        "content": [
          {
            "type": "text",
            "text": "What\\'s in this image?"
          },
          {
            "type": "image_url",
            "image_url": {
              "url": "data:image/jpeg;base64,..."
            }
          }
        ]
      }
    ]
  }'
"""
SETTINGS: Final = (
    *("SESSIONS", "ADDRESS", "APIKEY", "PROXY", "CHAT_DELETE"),
    *("MAX_CHAT_HISTORY_LENGTH", "NO_ROLE_PREFIX", "PROMPT_DISABLE_ARTIFACTS"),
)
"""Every one that its table of settings lists."""

_WRITTEN: Final = {"address": "localhost:8080", "key": "YOUR_API_KEY", "image": "base64,..."}
_BROKEN_QUOTE: Final = ("What\\'s", "What'\\''s")
_LISTED: Final = re.compile(r"^\s+- ([A-Z_]+=\S+)", re.MULTILINE)


def environment(text: str) -> dict[str, str]:
    """The settings of a docker line, of a compose file's list, or of lines of ``export``."""
    pairs = _LISTED.findall(text) or [word for word in shlex.split(text) if re.match(r"[A-Z_]+=", word)]
    return dict(pair.split("=", 1) for pair in pairs)


def filled(example: str, *, address: str, key: str, image: str = "") -> str:
    """A curl line with a host, a key and an image in base64; the quote that ends the shell's string is mended."""
    text = example.replace(_WRITTEN["address"], address).replace(_WRITTEN["key"], key)
    return text.replace(_WRITTEN["image"], f"base64,{image}").replace(*_BROKEN_QUOTE)
