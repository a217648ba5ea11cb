"""A request made ready for Claude Code: what it loses, what it is refused for, and whose it is."""
