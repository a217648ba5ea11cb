"""All credentials of the configuration, united and named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from proxy.credentials.credential import Credential, Kind
from proxy.credentials.draft import NAME_PREFIX, Draft
from proxy.credentials.environment import drafts_from_settings
from proxy.credentials.file import drafts_from_file, drafts_from_keys_json
from proxy.credentials.reading import Reader
from proxy.credentials.sessions import session_warnings
from proxy.secrets import Secret
from proxy.settings import ConfigurationError, Findings, Settings, read_text, warn_if_readable


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was found.

    Attributes:
        found: every credential once, those of the file first; names are unique. May be empty.
        warnings: sentences for the operator; they hold no secret.
    """

    found: tuple[Credential, ...]
    warnings: tuple[str, ...] = ()


def load_credentials(settings: Settings, environ: Mapping[str, str]) -> Credentials:
    """Unite the file of credentials with those of the environment.

    Args:
        settings: the configuration.
        environ: the process's environment, where ``$NAME`` references are looked up before ``.env``.

    Raises:
        ConfigurationError: with every mistake there is; none of them shows a value.
    """
    sources = settings.sources
    findings = Findings()
    reader = Reader({**sources.variables, **{name: Secret(text) for name, text in environ.items() if text}})
    drafts: list[Draft] = []
    path = sources.sessions_file
    text = read_text(path, path.name, findings, required=sources.sessions_file_required)
    if text is not None:
        warn_if_readable(path, findings)
        drafts += drafts_from_file(text, path.name, reader)
    if sources.claude_api_keys is not None:
        drafts += drafts_from_keys_json(sources.claude_api_keys.reveal(), "CLAUDE_API_KEYS", reader)
    from_settings, problems = drafts_from_settings(sources)
    findings.problems += [*reader.problems, *problems]
    once = _without_repeats(drafts + from_settings, settings, findings)
    if not once and sources.claude_code_implied:
        once = [Draft(where="CLAUDE_CODE", kind=Kind.CLAUDE_CODE, number=1)]
        findings.warn("No other credential is configured: this machine's own Claude Code login is used.")
    names = _Names(once, findings)
    found = tuple(draft.settled(names.of(draft), sources) for draft in once)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return Credentials(found, (*findings.warnings, *session_warnings(found, settings.access)))


def _without_repeats(drafts: Iterable[Draft], settings: Settings, findings: Findings) -> list[Draft]:
    first: dict[object, Draft] = {}
    for draft in drafts:
        identity = draft.settled("", settings.sources).identity
        kept = first.setdefault(identity, draft)
        if kept is not draft:
            findings.warn(f"{draft.where} is the same credential as {kept.where}, which is the one used.")
    return list(first.values())


class _Names:
    """Given names as they are, made ones beside them."""

    def __init__(self, drafts: Iterable[Draft], findings: Findings) -> None:
        self._taken: set[str] = set()
        for draft in drafts:
            if draft.name in self._taken:
                findings.wrong(
                    draft.where, f"has the name {draft.name}, which another credential has already"
                )
            elif draft.name is not None:
                self._taken.add(draft.name)

    def of(self, draft: Draft) -> str:
        """The draft's own name, or the first free one of its sort."""
        if draft.name is not None:
            return draft.name
        prefix = draft.prefix or NAME_PREFIX[draft.kind]
        name = next(
            name for number in count(draft.number or 1) if (name := f"{prefix}-{number}") not in self._taken
        )
        self._taken.add(name)
        return name
