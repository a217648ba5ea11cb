"""Credentials: found in the environment and in a file, checked, united, named."""

from proxy.credentials.credential import Credential, Kind
from proxy.credentials.loading import Credentials, load_credentials

__all__ = ["Credential", "Credentials", "Kind", "load_credentials"]
