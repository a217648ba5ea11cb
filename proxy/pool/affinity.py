"""Which credential a conversation was answered by, so that it finds its prompt cache again.

A cache belongs to the provider's organization: whoever answered the last turn answers the next one for a tenth of the
price. The memory is soft: it never keeps a request from being answered elsewhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Final

import msgspec

from proxy.clock import Clock

_ENTRIES_MAX: Final = 10_000
_IDLE_S: Final = 3600.0
_ELSEWHERE_BEFORE_MOVE: Final = 2
_SLOW_S: Final = 15.0
_NEWEST_SHARE: Final = 0.2


class _Binding(msgspec.Struct):
    """Where a conversation belongs.

    Attributes:
        name: alias of the credential.
        used_s: monotonic seconds of its last answer.
        elsewhere: answers in a row that came from others because of its health.
    """

    name: str
    used_s: float
    elsewhere: int = 0


class Affinity:
    """The bindings of conversations to credentials; the one that was idle longest is forgotten first.

    Attributes:
        tell: is told where each conversation belongs with each of its answers; None where nobody wants to know.

    Args:
        clock: the time.
        entries_max: how many are kept.
        idle_s: seconds without an answer after which one is forgotten.
    """

    __slots__ = ("_bindings", "_clock", "_entries_max", "_first_event_s", "_idle_s", "tell")

    def __init__(self, clock: Clock, *, entries_max: int = _ENTRIES_MAX, idle_s: float = _IDLE_S) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._idle_s = idle_s
        self._bindings: OrderedDict[Hashable, _Binding] = OrderedDict()
        self._first_event_s: dict[str, float] = {}
        self.tell: Callable[[Hashable, str], None] | None = None

    def __len__(self) -> int:
        return len(self._bindings)

    def __contains__(self, conversation: Hashable) -> bool:
        return conversation in self._bindings

    def bind(self, conversation: Hashable, name: str) -> None:
        """Take over from elsewhere where a conversation belongs."""
        now_s = self._clock.monotonic_s()
        self._forget_old(now_s)
        self._bindings[conversation] = _Binding(name, now_s)

    def preferred(self, conversation: Hashable) -> str | None:
        """The alias of the credential a conversation belongs to.

        None for one that is new, was idle too long, or whose credential has been slow to begin its answers.
        """
        binding = self._bindings.get(conversation)
        if binding is None:
            return None
        if self._clock.monotonic_s() - binding.used_s >= self._idle_s:
            del self._bindings[conversation]
            return None
        return None if self._first_event_s.get(binding.name, 0.0) > _SLOW_S else binding.name

    def heard(self, name: str, first_event_s: float) -> None:
        """The first event of an answer came after so many seconds; who is slow for long is not waited for."""
        average_s = self._first_event_s.get(name, first_event_s)
        self._first_event_s[name] = average_s + _NEWEST_SHARE * (first_event_s - average_s)

    def answered(self, conversation: Hashable, name: str, *, spilled: bool = False) -> None:
        """A credential has answered.

        Args:
            conversation: whose turn it was.
            name: the alias of the credential.
            spilled: whether it was chosen for want of a free place at the other, or before anybody looked for one.
                Such an answer moves no binding; of answers from elsewhere for other reasons, the second in a row does.
        """
        now_s = self._clock.monotonic_s()
        binding = self._bindings.get(conversation)
        if binding is None:
            self.bind(conversation, name)
        else:
            self._went_on(conversation, binding, name, now_s, spilled=spilled)
        if self.tell is not None:
            self.tell(conversation, self._bindings[conversation].name)

    def _went_on(
        self, conversation: Hashable, binding: _Binding, name: str, now_s: float, *, spilled: bool
    ) -> None:
        self._bindings.move_to_end(conversation)
        binding.used_s = now_s
        if binding.name == name:
            binding.elsewhere = 0
        elif not spilled:
            binding.elsewhere += 1
            if binding.elsewhere >= _ELSEWHERE_BEFORE_MOVE:
                binding.name, binding.elsewhere = name, 0

    def forget(self, names: Collection[str]) -> None:
        """Forget what belongs to these credentials: they are gone, or are other keys under their old aliases."""
        if not names:
            return
        bindings = self._bindings
        for conversation in [known for known, binding in bindings.items() if binding.name in names]:
            del bindings[conversation]
        for name in names:
            self._first_event_s.pop(name, None)

    def _forget_old(self, now_s: float) -> None:
        bindings = self._bindings
        while bindings:
            oldest = next(iter(bindings.values()))
            if len(bindings) < self._entries_max and now_s - oldest.used_s < self._idle_s:
                return
            bindings.popitem(last=False)
