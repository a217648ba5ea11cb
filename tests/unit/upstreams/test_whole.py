"""An answer that is already here."""

from proxy.upstreams.whole import WholeReply
from proxy.watch import Watch


async def test_a_whole_answer_is_read_once() -> None:
    """Protects readers of pieces, who stop at the first empty one."""
    reply = WholeReply(b"{}")
    assert (await reply.read(), await reply.read(), reply.ended) == (b"{}", b"", True)
    reply.close()
    watch = Watch()
    assert await WholeReply(b"{}").read_all(watch, 1) == b"{}"
    watch.close()
