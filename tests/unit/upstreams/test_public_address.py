"""Which addresses are public."""

import socket

import pytest

from proxy.upstreams.public_address import is_own, is_public


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.1", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.8", "192.0.0.9", "192.0.2.1", "192.88.99.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("168.63.129.16", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:7f00:1"),
        *("::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::808:808"),
        *("2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378::1", "2001:20::1", "2001:db8::1", "3fff::1"),
        *("fe80::1", "fe80::1%1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "5f00::1", "100::1"),
        *("2606:4700:4700::1111%1", "4000::1"),
        *("", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "①②⑦.⓪.⓪.①", "1.1.1.1 ", "/run/socket"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_plainly_public_is_not_public(host: str) -> None:
    """Protects this machine and its neighbours, also behind gateways that carry IPv4 inside IPv6."""
    assert not is_public(host)


@pytest.mark.parametrize(
    "host", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "::ffff:1.1.1.1"]
)
def test_a_public_address_is_public(host: str) -> None:
    """Protects fetching from being refused altogether."""
    assert is_public(host)


def test_an_address_of_this_machine_is_known_without_a_packet() -> None:
    """Protects services that listen on this machine's public address alone."""
    assert is_own(socket.AF_INET, "127.0.0.1")


def test_the_way_an_address_is_written_hides_nothing() -> None:
    """Protects from an IPv4 address inside an IPv6 one."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("::ffff:127.0.0.1", 9))
        except OSError:
            pytest.skip("this machine has no IPv6 at all")
    assert is_own(socket.AF_INET6, "::ffff:7f00:1")


def test_another_machines_address_is_not_this_ones() -> None:
    """Protects public hosts from being taken for our own; nothing is sent there."""
    assert not is_own(socket.AF_INET, "192.0.2.1")
