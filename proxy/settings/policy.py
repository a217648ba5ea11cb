"""The numbers of the pool and of the relay. Each is a setting; this class is their only list."""

from dataclasses import Field, dataclass, field, fields
from typing import Final, TypeVar, cast

T = TypeVar("T")
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PolicyField:
    """How one number is set.

    Attributes:
        attribute: its name in `Policy`.
        name: its name in the environment.
        low: least value allowed, of each step where it is a ladder.
        high: greatest value allowed.
        text: what it does, one sentence.
        default: the value where nothing is set.
    """

    attribute: str
    name: str
    low: float
    high: float
    text: str
    default: int | float | tuple[float, ...]


def _of(default: T, name: str, low: float, high: float, text: str) -> T:
    return field(default=default, metadata={"name": name, "low": low, "high": high, "text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the pool and the relay do about time, failure and size.

    Names tell the unit: ``_s`` are seconds, ``_bytes`` bytes; a ladder is climbed one step at each repetition
    and stays on its last. Bounds stand beside each number.
    """

    retry_count: int = _of(
        2, "RETRY_COUNT", 0, 10, "Attempts after the first that may have done work upstream."
    )
    walk_credentials: int = _of(
        16, "POOL_WALK_CREDENTIALS", 1, 1000, "Most credentials asked for one request while all refuse."
    )
    same_fault_attempts: int = _of(
        2, "POOL_SAME_FAULT_ATTEMPTS", 1, 10, "Most attempts of one request that may end in the same fault."
    )
    queue_length: int = _of(
        100, "QUEUE_LENGTH", 0, 100_000, "Requests that may wait for a free place; more are refused at once."
    )
    queue_wait_s: float = _of(10.0, "QUEUE_WAIT_S", 0, 600, "Longest wait for a free place.")
    deadline_s: float = _of(
        600.0, "RELAY_DEADLINE_S", 1, 86_400, "Time in which a request may still start an attempt."
    )
    connect_timeout_s: float = _of(
        5.0, "RELAY_CONNECT_TIMEOUT_S", 0.1, 120, "Time to connect to an upstream, TLS included."
    )
    first_event_timeout_s: float = _of(
        60.0, "RELAY_FIRST_EVENT_TIMEOUT_S", 1, 3600, "Time until a stream's first event other than a ping."
    )
    idle_timeout_s: float = _of(
        60.0, "RELAY_IDLE_TIMEOUT_S", 1, 86_400, "Longest silence between two events of a stream."
    )
    ping_only_timeout_s: float = _of(
        900.0, "RELAY_PING_ONLY_TIMEOUT_S", 1, 86_400, "Longest time in which a stream sends pings alone."
    )
    unary_timeout_s: float = _of(
        600.0, "RELAY_UNARY_TIMEOUT_S", 1, 86_400, "Time for a whole answer that is not streamed."
    )
    stream_wall_s: float = _of(14_400.0, "RELAY_STREAM_WALL_S", 1, 604_800, "Longest life of one stream.")
    write_stall_s: float = _of(
        60.0,
        "RELAY_WRITE_STALL_S",
        1,
        3600,
        "Time a client may take no byte of an answer before it is cut off.",
    )
    connections_max: int = _of(
        2000,
        "RELAY_CONNECTIONS_MAX",
        0,
        1_000_000,
        "Connections a process takes at once; one more is closed. 0 takes any number.",
    )
    connections_per_address_max: int = _of(
        100,
        "RELAY_CONNECTIONS_PER_ADDRESS_MAX",
        0,
        1_000_000,
        "The same of one address; trusted proxies, private networks and this machine have any number.",
    )
    head_timeout_s: float = _of(
        30.0, "RELAY_HEAD_TIMEOUT_S", 2, 3600, "Time a new connection has for the head of its first request."
    )
    body_stall_s: float = _of(
        60.0, "RELAY_BODY_STALL_S", 0.1, 3600, "Time a client's body may keep the server waiting, in all."
    )
    body_min_bytes_per_s: int = _of(
        500,
        "RELAY_BODY_MIN_BYTES_PER_S",
        0,
        2**31,
        "Bytes of a body that win back a second of that time; 0 lets every byte win back all of it.",
    )
    hold_back_s: float = _of(
        15.0, "RELAY_HOLD_BACK_S", 0, 300, "Longest time a stream's headers wait for the first event."
    )
    keep_alive_s: float = _of(15.0, "RELAY_KEEP_ALIVE_S", 1, 300, "Silence after which a keep-alive is sent.")
    backoff_base_s: float = _of(
        0.5,
        "POOL_BACKOFF_BASE_S",
        0,
        60,
        "Upper bound of the first pause between attempts; doubles each time.",
    )
    backoff_max_s: float = _of(
        8.0, "POOL_BACKOFF_MAX_S", 0, 300, "Upper bound of any pause between attempts."
    )
    cumulative_wait_s: float = _of(
        20.0, "POOL_CUMULATIVE_WAIT_S", 0, 600, "Longest sum of all pauses of one request."
    )
    min_attempt_s: float = _of(
        5.0,
        "POOL_MIN_ATTEMPT_S",
        0,
        600,
        "No attempt is started with less time than this before the deadline.",
    )
    budget_per_request: float = _of(
        0.2, "POOL_BUDGET_PER_REQUEST", 0, 10, "Retries a client's request adds to the retry budget."
    )
    budget_per_second: float = _of(
        2.0, "POOL_BUDGET_PER_SECOND", 0, 1000, "Retries a second adds to the retry budget."
    )
    budget_max: float = _of(
        10.0, "POOL_BUDGET_MAX", 0, 10_000, "Most retries the budget can hold; it starts full."
    )
    strikes: int = _of(
        5, "POOL_STRIKES", 1, 1000, "Faults in a row that put a credential out of use for a time."
    )
    strike_share: float = _of(
        0.5, "POOL_STRIKE_SHARE", 0.01, 1, "Share of faults in a window that does the same."
    )
    strike_window_s: float = _of(60.0, "POOL_STRIKE_WINDOW_S", 1, 3600, "Length of that window.")
    strike_window_calls: int = _of(
        10, "POOL_STRIKE_WINDOW_CALLS", 1, 100_000, "Fewest calls in the window for its share to count."
    )
    fault_ladder_s: tuple[float, ...] = _of(
        (30.0, 60.0, 120.0, 240.0, 300.0), "POOL_FAULT_LADDER_S", 1, 86_400, "Times out of use after faults."
    )
    fault_forget_s: float = _of(
        600.0, "POOL_FAULT_FORGET_S", 1, 86_400, "Time of health after which that ladder starts anew."
    )
    rate_ladder_s: tuple[float, ...] = _of(
        (5.0, 10.0, 20.0, 40.0, 60.0),
        "POOL_RATE_LADDER_S",
        1,
        86_400,
        "Times out of use after a 429 that names no time.",
    )
    retry_after_max_s: float = _of(
        3600.0, "POOL_RETRY_AFTER_MAX_S", 1, 604_800, "Longest retry-after of an upstream that is believed."
    )
    auth_cooling_s: float = _of(
        60.0, "POOL_AUTH_COOLING_S", 1, 86_400, "Time out of use after a first refused key."
    )
    auth_window_s: float = _of(
        60.0,
        "POOL_AUTH_WINDOW_S",
        1,
        3600,
        "Window in which refused keys of the whole pool are counted together.",
    )
    closed_model_s: float = _of(
        600.0,
        "POOL_CLOSED_MODEL_S",
        1,
        86_400,
        "Time a model stays closed for a credential that may not use it.",
    )
    billing_cooling_s: float = _of(
        3600.0,
        "POOL_BILLING_COOLING_S",
        1,
        604_800,
        "First time out of use for want of credit; doubles each time.",
    )
    billing_max_s: float = _of(
        86_400.0, "POOL_BILLING_MAX_S", 1, 2_678_400, "Longest time out of use for want of credit."
    )
    blocked_cooling_s: float = _of(
        60.0, "POOL_BLOCKED_COOLING_S", 1, 86_400, "First time a challenged way out rests; doubles each time."
    )
    blocked_max_s: float = _of(
        900.0, "POOL_BLOCKED_MAX_S", 1, 86_400, "Longest time a challenged way out rests."
    )
    overload_window_s: float = _of(
        10.0, "POOL_OVERLOAD_WINDOW_S", 1, 3600, "Window in which overloads of the provider are counted."
    )
    overload_calls: int = _of(
        20, "POOL_OVERLOAD_CALLS", 1, 100_000, "Fewest answers in that window to judge the provider by."
    )
    overload_share: float = _of(
        0.5, "POOL_OVERLOAD_SHARE", 0.01, 1, "Share of overloads among them that has calls turned away here."
    )
    overload_open_s: float = _of(10.0, "POOL_OVERLOAD_OPEN_S", 1, 3600, "Time for which they are.")
    overload_admitted_share: float = _of(
        0.2, "POOL_OVERLOAD_ADMITTED_SHARE", 0, 1, "Share of the calls that is asked all the same meanwhile."
    )
    headroom_share: float = _of(
        0.02,
        "POOL_HEADROOM_SHARE",
        0,
        1,
        "Share of a rate limit under which other credentials are asked rather.",
    )
    headroom_rest_s: float = _of(
        60.0, "POOL_HEADROOM_REST_S", 0, 3600, "Longest time for which they are, without a newer answer."
    )
    slow_start_places: int = _of(
        16,
        "POOL_SLOW_START_PLACES",
        1,
        100_000,
        "Places to which a credential that comes back after faults grows from one before all are open.",
    )
    slow_start_s: float = _of(
        60.0, "POOL_SLOW_START_S", 0, 86_400, "Longest time that growing takes; 0 opens all places at once."
    )
    endpoint_strikes: int = _of(
        5,
        "POOL_ENDPOINT_STRIKES",
        1,
        1000,
        "Failures to connect in a row after which an endpoint is avoided.",
    )
    endpoint_open_s: float = _of(
        10.0, "POOL_ENDPOINT_OPEN_S", 1, 3600, "Time for which it is, until one request tries it again."
    )
    trial_s: float = _of(
        30.0, "POOL_TRIAL_S", 1, 3600, "Time a trial request has before its place is taken back."
    )
    jitter: float = _of(
        0.2, "POOL_JITTER", 0, 1, "Greatest share by which a time out of use is lengthened at random."
    )
    upstream_body_max_bytes: int = _of(
        64 * _MIB, "RELAY_UPSTREAM_BODY_MAX_BYTES", 1024, 2**31, "Largest answer that is not streamed."
    )
    event_max_bytes: int = _of(
        8 * _MIB, "RELAY_EVENT_MAX_BYTES", 1024, 2**31, "Largest single event of a stream."
    )
    body_max_bytes: int = _of(
        32 * _MIB, "RELAY_BODY_MAX_BYTES", 1024, 2**31, "Largest body a client may send."
    )
    file_max_bytes: int = _of(
        500 * _MIB, "RELAY_FILE_MAX_BYTES", 1024, 2**33, "Largest body that uploads a file."
    )
    batch_max_bytes: int = _of(
        256 * _MIB, "RELAY_BATCH_MAX_BYTES", 1024, 2**33, "Largest body that creates a batch."
    )


def _described(each: "Field[object]") -> PolicyField:
    return PolicyField(
        attribute=each.name,
        name=each.metadata["name"],
        low=each.metadata["low"],
        high=each.metadata["high"],
        text=each.metadata["text"],
        default=cast(int | float | tuple[float, ...], each.default),
    )


POLICY_FIELDS: Final[tuple[PolicyField, ...]] = tuple(_described(each) for each in fields(Policy))
