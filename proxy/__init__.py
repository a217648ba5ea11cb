"""Carousel: one HTTP endpoint in front of all the Claude access a person or team has.

Every word the program uses, defined once:

Credential
    What lets us speak to an upstream: a key, a cookie, a login. Shown by its *alias* only.
Kind
    Which sort of upstream a credential opens: ``anthropic``, ``claude_web``, ``claude_code``, ``openai``.
Organization
    The account at the provider that owns a credential. Limits and prompt caches belong to it.
Way out
    The network path an upstream call takes: direct, or a proxy. It can be challenged as a whole.
Dialect
    A wire format a client or an upstream speaks, as a pure pair of translators.
Envelope
    What a peek at a client's body tells us without decoding it: model, streaming, our own fields.
Exchange
    One client call from its first byte to its last: id, dialect, envelope, body, deadline, client.
Member
    A credential in the pool, with its health and its places.
Fallback
    A member of last resort, asked once an exchange, after all others.
Lease
    One place at a member, held from the moment it is chosen until the last byte. Given back exactly once.
Walk
    The memory of one exchange's attempts: who was asked, who refused, what may still be tried.
Refusal
    An upstream answer that did no work, so that asking another credential costs nothing.
Fault
    A failure that may have done work upstream: trying again is counted.
Outcome
    What became of a lease: success, a classified failure, or abandonment by the client.
Health
    ``ready``, ``cooling``, ``trial`` or ``disabled``: whether a member may be chosen.
Limit class
    The group of models that share one rate limit.
Outlook
    Who would be asked for a model now, and why not the others; looking changes nothing.
Trace
    The story of one exchange: whom it asked, when, and what became of each attempt.
Charge
    What one upstream answer has used, as far as it told; a request has one for each attempt that did work.
Settlement
    The end of an exchange for the books: its charges, and whether it failed or was abandoned. Made once.
Attempt
    One upstream call made for an exchange.
Commit
    The first byte to the client. Before it everything may be tried again, after it nothing is.
Reply
    An upstream's answer while it is being read.
Lane
    How a reply becomes the client's bytes: verbatim, with an edited envelope, or translated.
Tap
    The part of the verbatim lane that reads usage, stop reason and errors from bytes it does not change.
Event
    One step of a streamed answer in the canonical form, Anthropic's Messages stream.
Feature
    Something a client can ask for; which kinds carry it stands in one table, the capabilities.
Dropped
    A field a path could not carry, with the reason; the client is told.
"""

__version__ = "0.1.0"
