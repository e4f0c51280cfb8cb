"""`Limiter` and `AsyncLimiter`: the RL.* commands over a client of redis-py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

import redis.exceptions

from . import _wire
from ._connection import DEFAULT_TIMEOUT, make_async_client, make_client
from ._errors import UnavailableError, translate
from ._failures import Failure, FailureCounts, Failures, OnError
from ._types import Decision, Decisions, Limit, LimitLike
from ._wire import Command, Key


class Client(Protocol):
    """What a `Limiter` needs of a client; `redis.Redis` has it."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...


class AsyncClient(Protocol):
    """What an `AsyncLimiter` needs of a client; `redis.asyncio.Redis` has it."""

    def execute_command(self, *args: Any, **options: Any) -> Awaitable[Any]: ...


class _Base:
    """What both limiters share: everything but waiting for the reply."""

    def __init__(
        self, prefix: str, on_error: OnError, on_failure: Callable[[Failure], object] | None
    ) -> None:
        self.prefix = prefix
        self._failures = Failures(on_error, on_failure)

    @property
    def on_error(self) -> OnError:
        """What happens to a decision that the server does not make."""
        return self._failures.on_error

    @property
    def failures(self) -> FailureCounts:
        """How many calls the server did not decide, by what was done instead."""
        return self._failures.counts

    def _key(self, key: Key) -> Key:
        if not self.prefix:
            return key
        return self.prefix.encode() + key if isinstance(key, bytes) else self.prefix + key

    def _prefixed(self, limits: Sequence[tuple[Key, LimitLike]]) -> list[tuple[Key, LimitLike]]:
        return [(self._key(key), limit) for key, limit in limits]

    def _instead(
        self, command: Command, error: redis.exceptions.RedisError, is_decision: bool
    ) -> UnavailableError:
        """The error that `on_error` answers; raises all others."""
        translated = translate(error)
        if not isinstance(translated, UnavailableError):
            raise translated from error
        answer = self.on_error if is_decision else "raise"
        self._failures.report(str(command[0]), translated, answer)
        if answer == "raise":
            raise translated from error
        translated.__cause__ = error
        return translated

    def _undecided(self, error: UnavailableError, cost: int, limit: LimitLike | None) -> Decision:
        is_allowed = self.on_error == "open"
        return Decision(
            allowed=is_allowed,
            granted=cost if is_allowed else 0,
            limit=limit.capacity if isinstance(limit, Limit) else 0,
            remaining=0,
            retry_after=None,
            reset_after=0.0,
            error=error,
        )

    def _all_undecided(self, error: UnavailableError, cost: int) -> Decisions:
        is_allowed = self.on_error == "open"
        return Decisions(is_allowed, cost if is_allowed else 0, None, None, (), error)


def _keys(limits: Sequence[tuple[Key, LimitLike]]) -> list[Key]:
    return [key for key, _ in limits]


class Limiter(_Base):
    """Asks the server over a client of redis-py, with or without Sentinel or a pool.

    `on_error` determines what `take`, `peek`, `check` and `take_all` answer when the server makes
    no decision (`UnavailableError`): `"raise"` raises, `"open"` allows, `"closed"` refuses; the
    answer then has its `error` set. Each such call is counted in `failures`, passed to
    `on_failure`, and logged at most every ten seconds. Calls that the server rejects always raise
    `InvalidCallError`.

    The client's own time-outs and retries apply: see `connection_options`. `prefix` is put before
    each key, but not before the names of a `check`.
    """

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "",
        on_error: OnError = "raise",
        on_failure: Callable[[Failure], object] | None = None,
    ) -> None:
        super().__init__(prefix, on_error, on_failure)
        self.client = client

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        prefix: str = "",
        on_error: OnError = "raise",
        on_failure: Callable[[Failure], object] | None = None,
        **options: Any,
    ) -> Limiter:
        """A limiter with a client of its own, which tries once, and waits `timeout` seconds at most
        for one of its connections, to connect, and for each reply. `options` are those of
        redis-py's connections and pools, such as `password`, `max_connections` (50) or `protocol`.
        """
        client = make_client(url, timeout, options)
        return cls(client, prefix=prefix, on_error=on_error, on_failure=on_failure)

    def take(
        self,
        key: Key,
        limit: LimitLike,
        *,
        cost: int = 1,
        at_most: bool = False,
        id: Key | None = None,
    ) -> Decision:
        """Takes `cost` units of a key's limit if enough are left. With `at_most`, takes as many as
        are left, if any. With `id`, a retry gets the first answer again and takes nothing."""
        command = _wire.take("RL.TAKE", self._key(key), limit, cost, at_most, id)
        return self._decide(command, cost, limit)

    def peek(self, key: Key, limit: LimitLike, *, cost: int = 1, at_most: bool = False) -> Decision:
        """What `take` would answer. Takes nothing; replicas answer it, too."""
        command = _wire.take("RL.PEEK", self._key(key), limit, cost, at_most, None)
        return self._decide(command, cost, limit)

    def check(
        self,
        tenant: Key,
        client: Key,
        action: Key,
        *,
        cost: int = 1,
        at_most: bool = False,
        id: Key | None = None,
    ) -> Decision:
        """Takes units from the limit that the server's rules assign to this client and action."""
        command = _wire.check(tenant, client, action, cost, at_most, id)
        return self._decide(command, cost, None)

    def take_all(self, limits: Sequence[tuple[Key, LimitLike]], *, cost: int = 1) -> Decisions:
        """Takes the same cost from all of several limits, or from none."""
        sent = self._prefixed(limits)
        try:
            reply = self._call(command := _wire.take_all(sent, cost))
        except redis.exceptions.RedisError as error:
            return self._all_undecided(self._instead(command, error, True), cost)
        return _wire.decisions(reply, _keys(sent), _keys(limits))

    def refund(self, key: Key, limit: LimitLike, *, cost: int = 1) -> Decision:
        """Returns units to a key's limit, up to the limit; `granted` tells how many. Raises
        `UnavailableError` whatever `on_error` is, since this is not a decision."""
        return _wire.decision(self._order(_wire.refund(self._key(key), limit, cost)))

    def reset(self, key: Key) -> bool:
        """Resets a key's limit; False if nothing was spent. Raises like `refund`."""
        return bool(self._order(("RL.RESET", self._key(key))))

    def close(self) -> None:
        """Closes the client's connections."""
        close = getattr(self.client, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> Limiter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, command: Command) -> Any:
        reply = self.client.execute_command(*command)
        self._failures.report_success()
        return reply

    def _decide(self, command: Command, cost: int, limit: LimitLike | None) -> Decision:
        try:
            reply = self._call(command)
        except redis.exceptions.RedisError as error:
            return self._undecided(self._instead(command, error, True), cost, limit)
        return _wire.decision(reply)

    def _order(self, command: Command) -> Any:
        try:
            return self._call(command)
        except redis.exceptions.RedisError as error:
            raise self._instead(command, error, False) from error


class AsyncLimiter(_Base):
    """`Limiter` for asyncio: the same calls over a client of `redis.asyncio`."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        prefix: str = "",
        on_error: OnError = "raise",
        on_failure: Callable[[Failure], object] | None = None,
    ) -> None:
        super().__init__(prefix, on_error, on_failure)
        self.client = client

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        prefix: str = "",
        on_error: OnError = "raise",
        on_failure: Callable[[Failure], object] | None = None,
        **options: Any,
    ) -> AsyncLimiter:
        """A limiter with a client of its own, as `Limiter.from_url`."""
        client = make_async_client(url, timeout, options)
        return cls(client, prefix=prefix, on_error=on_error, on_failure=on_failure)

    async def take(
        self,
        key: Key,
        limit: LimitLike,
        *,
        cost: int = 1,
        at_most: bool = False,
        id: Key | None = None,
    ) -> Decision:
        """`Limiter.take`."""
        command = _wire.take("RL.TAKE", self._key(key), limit, cost, at_most, id)
        return await self._decide(command, cost, limit)

    async def peek(
        self, key: Key, limit: LimitLike, *, cost: int = 1, at_most: bool = False
    ) -> Decision:
        """`Limiter.peek`."""
        command = _wire.take("RL.PEEK", self._key(key), limit, cost, at_most, None)
        return await self._decide(command, cost, limit)

    async def check(
        self,
        tenant: Key,
        client: Key,
        action: Key,
        *,
        cost: int = 1,
        at_most: bool = False,
        id: Key | None = None,
    ) -> Decision:
        """`Limiter.check`."""
        command = _wire.check(tenant, client, action, cost, at_most, id)
        return await self._decide(command, cost, None)

    async def take_all(
        self, limits: Sequence[tuple[Key, LimitLike]], *, cost: int = 1
    ) -> Decisions:
        """`Limiter.take_all`."""
        sent = self._prefixed(limits)
        try:
            reply = await self._call(command := _wire.take_all(sent, cost))
        except redis.exceptions.RedisError as error:
            return self._all_undecided(self._instead(command, error, True), cost)
        return _wire.decisions(reply, _keys(sent), _keys(limits))

    async def refund(self, key: Key, limit: LimitLike, *, cost: int = 1) -> Decision:
        """`Limiter.refund`."""
        return _wire.decision(await self._order(_wire.refund(self._key(key), limit, cost)))

    async def reset(self, key: Key) -> bool:
        """`Limiter.reset`."""
        return bool(await self._order(("RL.RESET", self._key(key))))

    async def aclose(self) -> None:
        """Closes the client's connections."""
        # redis-py 5.0.0 has only `close`, later versions deprecate it.
        close = getattr(self.client, "aclose", None) or getattr(self.client, "close", None)
        if close is not None:
            await close()

    async def __aenter__(self) -> AsyncLimiter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _call(self, command: Command) -> Any:
        reply = await self.client.execute_command(*command)
        self._failures.report_success()
        return reply

    async def _decide(self, command: Command, cost: int, limit: LimitLike | None) -> Decision:
        try:
            reply = await self._call(command)
        except redis.exceptions.RedisError as error:
            return self._undecided(self._instead(command, error, True), cost, limit)
        return _wire.decision(reply)

    async def _order(self, command: Command) -> Any:
        try:
            return await self._call(command)
        except redis.exceptions.RedisError as error:
            raise self._instead(command, error, False) from error
