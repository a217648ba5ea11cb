"""Where a request comes from, and whose word is taken for it."""

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.server.addresses import Addresses


@pytest.mark.parametrize(
    ("trusted", "remote", "forwarded", "found"),
    [
        ((), "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (("10.0.0.0/8",), "192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (("10.0.0.0/8",), "10.1.1.1", [], "10.1.1.1"),
        (("10.0.0.0/8",), "10.1.1.1", ["198.51.100.7"], "198.51.100.7"),
        (("10.0.0.0/8",), "::ffff:10.1.1.1", ["198.51.100.7"], "198.51.100.7"),
        (("10.0.0.0/8",), "10.1.1.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (("10.0.0.0/8",), "10.1.1.1", ["203.0.113.9", "198.51.100.7, 10.2.2.2"], "198.51.100.7"),
        (("10.0.0.0/8",), "10.1.1.1", ["nonsense"], "10.1.1.1"),
        (("10.0.0.0/8",), "10.1.1.1", ["198.51.100.7, nonsense, 10.2.2.2"], "10.2.2.2"),
        (("10.0.0.0/8",), "10.1.1.1", [", ".join(["10.3.3.3"] * 1000)], "10.3.3.3"),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8::1", ["2001:db9::5"], "2001:db9::5"),
    ],
)
def test_only_what_a_trusted_proxy_added_is_believed(
    trusted: tuple[str, ...], remote: str, forwarded: list[str], found: str
) -> None:
    """Protects the count of wrong keys from a guesser who writes addresses of others into a header."""
    request = make_mocked_request("GET", "/", headers=[("X-Forwarded-For", each) for each in forwarded])
    assert Addresses(trusted).of(request.clone(remote=remote)) == found
