"""Claude Code as an upstream: the official program, driven through Anthropic's Agent SDK.

The SDK itself is imported by one file alone, `client`, and only once a credential of this kind is used.
"""
