"""Credentials: found in the environment and in a file, checked, united, named."""

from proxy.credentials.credential import Credential, Kind, is_login
from proxy.credentials.loading import Credentials, load_credentials
from proxy.credentials.source import CredentialSource, Look

__all__ = ["Credential", "CredentialSource", "Credentials", "Kind", "Look", "is_login", "load_credentials"]
