"""Stands in for the Claude Code program where a test needs one that misbehaves; `fake_claude` makes one.

It writes down how it was started, speaks the control protocol of the Agent SDK, and asks the address it was given. Run
as a program it uses nothing but the standard library.
"""

import json  # noqa: TID251 - the program runs without packages
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

VERSION = "2.1.329"
_MODE = "mode"
_RECORD = "starts.jsonl"
_MYSELF = {"name": "fake", "version": VERSION}


def fake_claude(folder: Path, mode: str = "", *, version: str = VERSION) -> Path:
    """Make one in `folder`: an executable file beside which it finds what it is to do, a mode of `_misbehave`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "claude"
    source = Path(__file__).read_text()
    program.write_text(f"#!{sys.executable} -IS\n{source}")
    program.chmod(0o755)
    (folder / _MODE).write_text(mode)
    (folder / "version").write_text(version)
    return program


def starts(folder: Path) -> list[dict[str, Any]]:
    """How it was started so far: ``argv``, ``environment`` and ``cwd`` of each."""
    file = folder / _RECORD
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    """Do what the mode says; without one, answer."""
    here = Path(sys.argv[0]).parent
    if sys.argv[1:] == ["--version"]:
        _say_plainly(f"{(here / 'version').read_text()} (Claude Code)\n")
        return
    start = {"argv": sys.argv, "environment": dict(os.environ), "cwd": os.getcwd()}  # noqa: PTH109 - as it is told
    with (here / _RECORD).open("a") as record:
        record.write(json.dumps(start) + "\n")
    mode = (here / _MODE).read_text()
    _misbehave(mode)
    for line in sys.stdin:
        _answer(json.loads(line), mode)
    if mode == "stubborn":
        time.sleep(600)


def _misbehave(mode: str) -> None:
    """What it does at its start."""
    if mode == "exits":
        sys.exit(1)
    if mode == "no_json":
        _say_plainly("{this is no JSON\n")
    if mode == "chatter":
        _say_plainly("[debug] not for machines\n")
    if mode == "floods":
        sys.stderr.write("x" * 10_000_000)
        sys.stderr.flush()
    if mode == "hangs":
        time.sleep(600)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)


def _answer(told: dict[str, Any], mode: str) -> None:
    if told["type"] == "control_request":
        response = {"subtype": "success", "request_id": told["request_id"], "response": {"commands": []}}
        _say({"type": "control_response", "response": response})
    elif told["type"] == "user":
        if mode == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if mode == "endless_line":
            _say_plainly("{" + "x" * 40_000_000)
        if mode == "calls_tools":
            _run(told["message"])
        else:
            _turn(told["message"], mode)


def _turn(message: dict[str, Any], mode: str) -> None:
    body = json.dumps({"model": "claude-sonnet-5-5", "messages": [message], "max_tokens": 9, "stream": True})
    failed = not _asked(body)
    if mode == "asks_twice":
        _asked(body)
    _end_turn(failed=failed)


def _end_turn(*, failed: bool) -> None:
    _say(
        {
            "type": "result",
            "subtype": "success",
            "duration_ms": 1,
            "duration_api_ms": 1,
            "is_error": failed,
            "num_turns": 1,
            "session_id": "s",
        }
    )


def _run(message: dict[str, Any]) -> None:
    """A turn that goes on until the model calls no tool any more, of which there is the one of an MCP server."""
    messages = [message]
    while calls := _asked_for_calls(messages):
        _tell_server(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": _MYSELF}
        )
        _tell_server("tools/call", {"name": "call", "arguments": {}})
        use = [{"type": "tool_use", "id": call, "name": "mcp__client__call", "input": {}} for call in calls]
        result = [{"type": "tool_result", "tool_use_id": call, "content": "-"} for call in calls]
        messages += [{"role": "assistant", "content": use}, {"role": "user", "content": result}]
    _end_turn(failed=False)


def _asked_for_calls(messages: list[dict[str, Any]]) -> list[str]:
    calls: list[str] = []
    body = json.dumps({"model": "claude-sonnet-5-5", "messages": messages, "max_tokens": 9, "stream": True})
    _asked(body, calls)
    return calls


def _tell_server(method: str, params: dict[str, Any]) -> None:
    """Ask the MCP server in the process that started this one, and wait for its answer."""
    message = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
    request = {"subtype": "mcp_message", "server_name": "client", "message": message}
    _say({"type": "control_request", "request_id": method, "request": request})
    for line in sys.stdin:
        told = json.loads(line)
        if told["type"] == "control_response":
            return
        _answer(told, "")


def _asked(body: str, calls: list[str] | None = None) -> bool:
    request = urllib.request.Request(  # noqa: S310 - the listener's address
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages?beta=true",
        body.encode(),
        {"content-type": "application/json", "anthropic-version": "2023-06-01", "x-api-key": "none"},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
            for line in answer:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    block = event.get("content_block", {})
                    if calls is not None and block.get("type") == "tool_use":
                        calls.append(block["id"])
                    _say({"type": "stream_event", "event": event, "uuid": "u", "session_id": "s"})
    except OSError:
        return False
    return True


def _say(message: dict[str, Any]) -> None:
    _say_plainly(json.dumps(message) + "\n")


def _say_plainly(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
