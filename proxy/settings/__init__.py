"""Everything the operator can set: one table of names, five places to set them, and the values that result.

`load_settings` reads and checks all of it at once; nothing else in the program looks at the environment.
"""

from proxy.settings.loader import load_settings
from proxy.settings.media import FetchRule, MediaSettings
from proxy.settings.model import (
    AccessSettings,
    CacheSettings,
    ClaudeCodeSettings,
    CredentialSources,
    Fallback,
    LimitSettings,
    RequestDefaults,
    Settings,
    WebSettings,
)
from proxy.settings.policy import POLICY_FIELDS, Policy
from proxy.settings.problems import ConfigurationError, InvalidValueError, Problem
from proxy.settings.setting import Group, Setting
from proxy.settings.shapes import Address, ModelAliases, WebSession
from proxy.settings.sources import Findings, read_text, warn_if_readable
from proxy.settings.table import ALL_SETTINGS, LogFormat, Strategy, ThinkingChoice
from proxy.settings.values import LogLevel

__all__ = [
    "ALL_SETTINGS",
    "POLICY_FIELDS",
    "AccessSettings",
    "Address",
    "CacheSettings",
    "ClaudeCodeSettings",
    "ConfigurationError",
    "CredentialSources",
    "Fallback",
    "FetchRule",
    "Findings",
    "Group",
    "InvalidValueError",
    "LimitSettings",
    "LogFormat",
    "LogLevel",
    "MediaSettings",
    "ModelAliases",
    "Policy",
    "Problem",
    "RequestDefaults",
    "Setting",
    "Settings",
    "Strategy",
    "ThinkingChoice",
    "WebSession",
    "WebSettings",
    "load_settings",
    "read_text",
    "warn_if_readable",
]
