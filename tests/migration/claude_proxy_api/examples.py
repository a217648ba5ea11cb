"""The settings and curl lines of Claude Proxy API Server's document, as users have them in their files."""

from typing import Final

DOTENV: Final = """\
ANTHROPIC_API_KEY=your_anthropic_api_key
CLAUDE_PROXY_API_KEY=your_chosen_proxy_api_key
ANTHROPIC_MODEL=claude-3-haiku-20240307
REQUEST_TIMEOUT=60
MODEL_TEMPERATURE=0.1
TOKENS_PER_MINUTE=10000
REQUESTS_PER_MINUTE=60
MAX_TOKENS=4096
"""
DOCKER: Final = """\
docker run -p 8000:8000 \\
  -e ANTHROPIC_API_KEY=your_anthropic_api_key \\
  -e CLAUDE_PROXY_API_KEY=your_chosen_proxy_api_key \\
  -e ANTHROPIC_MODEL=claude-3-haiku-20240307 \\
  -e REQUEST_TIMEOUT=60 \\
  -e MODEL_TEMPERATURE=0.1 \\
  -e TOKENS_PER_MINUTE=10000 \\
  -e REQUESTS_PER_MINUTE=60 \\
  -e MAX_TOKENS=4096 \\
  claude-proxy-api
"""
UVICORN: Final = "--host 0.0.0.0 --port 8000 --log-level debug"
SINGLE: Final = """\
curl http://localhost:8000/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer your_claude_proxy_api_key" \\
-d '{
"model": "claude-3-haiku-20240307",
"messages": [
  {"role": "user", "content": "What'\\''s the capital of France?"}
],
"temperature": 0.7
}'
"""
SYSTEM: Final = """\
curl http://localhost:8000/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer your_claude_proxy_api_key" \\
-d '{
"model": "claude-3-haiku-20240307",
"messages": [
  {"role": "system", "content": "You are a helpful assistant with expertise in geography."},
  {"role": "user", "content": "What'\\''s the capital of France?"},
  {"role": "assistant", "content": "The capital of France is Paris."},
  {"role": "user", "content": "What'\\''s the population of Paris?"}
],
"temperature": 0.7
}' | jq
"""
STREAMED: Final = """\
curl http://localhost:8000/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer your_claude_proxy_api_key" \\
-d '{
"model": "claude-3-haiku-20240307",
"messages": [
  {"role": "system", "content": "You are a poetic assistant. Always respond in rhyme."},
  {"role": "user", "content": "Tell me about the seasons of the year."}
],
"stream": true,
"response_format": {"type": "json_object"}
}'
"""
TURNS: Final = """\
curl http://localhost:8000/v1/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer your_claude_proxy_api_key" \\
-d '{
"model": "claude-3-haiku-20240307",
"messages": [
  {"role": "user", "content": "Let'\\''s play a word association game. I'\\''ll start: Sun"},
  {"role": "assistant", "content": "Warm"},
  {"role": "user", "content": "Beach"},
  {"role": "assistant", "content": "Sand"},
  {"role": "user", "content": "Castle"}
],
"temperature": 0.9
}' | jq
"""
JSON_MODE: Final = """\
curl -v http://localhost:8000/v1/chat/completions \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer your_claude_proxy_api_key" \\
  -d '{
    "model": "claude-3-haiku-20240307",
    "messages": [
      {"role": "user", "content": "Generate a JSON object with information about three random books, including title, \
author, and publication year."}
    ],
    "temperature": 0.7,
    "response_format": {"type": "json_object"}
  }' | jq
"""
