"""A real Redis Sentinel that monitors the server."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest
import redis.asyncio.sentinel
import redis.sentinel
from limits.storage import storage_from_string

import escapement.limits  # noqa: F401  (registers the scheme)
from escapement import AsyncLimiter, Limit, Limiter, connection_options
from server import PATIENCE, Server, eventually, free_port

LIMIT = Limit(10, per="1h")


@pytest.fixture
def sentinel_port(server: Server, tmp_path: pathlib.Path):
    program = shutil.which("redis-sentinel")
    if program is None:
        pytest.skip("redis-sentinel is not installed")
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {server.port} 1\n"
    )
    with open(tmp_path / "sentinel.log", "wb") as log:
        process = subprocess.Popen([program, str(config)], stdout=log, stderr=log)
    sentinel = redis.sentinel.Sentinel([("127.0.0.1", port)])

    def is_known() -> bool:
        try:
            return sentinel.discover_master("main")[1] == server.port
        except redis.sentinel.MasterNotFoundError:
            return False

    try:
        eventually(is_known, "Sentinel knows the server")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def test_limiters_and_storages_over_sentinel(sentinel_port: int):
    addresses = [("127.0.0.1", sentinel_port)]
    waits = connection_options(30)
    sentinel = redis.sentinel.Sentinel(addresses, sentinel_kwargs=waits)
    limiter = Limiter(sentinel.master_for("main", **waits))
    assert limiter.take("k", LIMIT).remaining == 9
    limiter.close()

    waits = connection_options(30, asynchronous=True)
    async_sentinel = redis.asyncio.sentinel.Sentinel(addresses, sentinel_kwargs=waits)
    async with AsyncLimiter(async_sentinel.master_for("main", **waits)) as async_limiter:
        assert (await async_limiter.take("k", LIMIT)).remaining == 8

    uri = f"escapement+sentinel://127.0.0.1:{sentinel_port}/main"
    storage = storage_from_string(uri, timeout=30)
    assert storage.check()
    assert storage.acquire_entry("k", 1, 3600)
    async_storage = storage_from_string(f"async+{uri}", timeout=30)
    assert not await async_storage.acquire_entry("k", 1, 3600)
    await async_storage.storage.aclose()
    pool = async_storage.storage.connection_pool
    for client in (*async_sentinel.sentinels, *pool.sentinel_manager.sentinels):
        await client.aclose()
