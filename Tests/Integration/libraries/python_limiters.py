"""Real rate-limit libraries from PyPI, each set up as in its own quick start: `python_limiters.py NAME`.

Reads requests from standard input and writes answers to standard output, one JSON object per line; `test_libraries.py`
describes the requests. Runs in .build/venv-libraries. Owns nothing but the glue: no library is patched, and a setting
that differs from the quick start has a comment that says why.
"""

import asyncio
import concurrent.futures
import json
import sys
import threading
import time
import zlib
from datetime import timedelta
from importlib.metadata import version

THREADS = 8


class EventLoop:
    """An event loop in a thread of its own, for asynchronous libraries; other threads call into it."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


class Address:
    """Where the server is: a host and port, or Sentinels, for libraries that can use those."""

    def __init__(self, words):
        self.port = words["port"]
        self.database = words["database"]  # for libraries whose default is not 0
        self.sentinels = words.get("sentinels")
        self.url = f"redis://127.0.0.1:{self.port}"

    def limits_uri(self, prefix=""):
        if self.sentinels:
            hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
            return f"{prefix}redis+sentinel://{hosts}/mymaster"
        return f"{prefix}{self.url}"

    def client(self, module, **options):
        """A redis-py client; `module` is redis or redis.asyncio."""
        if self.sentinels:
            nodes = [("127.0.0.1", port) for port in self.sentinels]
            sentinel = __import__(f"{module.__name__}.sentinel", fromlist=["Sentinel"]).Sentinel(nodes, **options)
            return sentinel.master_for("mymaster")
        return module.Redis(host="127.0.0.1", port=self.port, **options)


class Limiter:
    """A library. `hit` returns whether the call was allowed, and what else the library told its caller: numbers that
    must be equal on every server, and in `seconds` those that may differ by the time that has passed."""

    packages = ()

    def __init__(self, address, rules):
        self.address = address
        self.rules = {name: tuple(rule) for name, rule in rules.items()}
        self.prepare()

    def prepare(self):
        raise NotImplementedError

    def hit(self, rule, who):
        raise NotImplementedError


# limits, and what is built on it


class Limits(Limiter):
    packages = ("limits", "redis")
    strategy = "FixedWindowRateLimiter"

    def prepare(self):
        from limits import RateLimitItemPerSecond, storage, strategies
        self.items = {name: RateLimitItemPerSecond(*rule) for name, rule in self.rules.items()}
        self.limiter = getattr(strategies, self.strategy)(storage.storage_from_string(self.address.limits_uri()))

    def hit(self, rule, who):
        item = self.items[rule]
        expected = self.limiter.test(item, who)
        allowed = self.limiter.hit(item, who)
        stats = self.limiter.get_window_stats(item, who)
        return allowed, {"test": expected, "remaining": stats.remaining}, {"reset": stats.reset_time - time.time()}


class LimitsSlidingCounter(Limits):
    strategy = "SlidingWindowCounterRateLimiter"


class LimitsMovingWindow(Limits):
    strategy = "MovingWindowRateLimiter"


class LimitsAsync(Limiter):
    packages = ("limits", "coredis")
    strategy = "FixedWindowRateLimiter"
    options = {}  # the default client is coredis

    def prepare(self):
        from limits import RateLimitItemPerSecond
        from limits.aio import strategies
        from limits.storage import storage_from_string
        self.loop = EventLoop()
        self.items = {name: RateLimitItemPerSecond(*rule) for name, rule in self.rules.items()}

        async def make():
            storage = storage_from_string(self.address.limits_uri("async+"), **self.options)
            return getattr(strategies, self.strategy)(storage)

        self.limiter = self.loop.run(make())

    def hit(self, rule, who):
        item = self.items[rule]
        allowed = self.loop.run(self.limiter.hit(item, who))
        stats = self.loop.run(self.limiter.get_window_stats(item, who))
        return allowed, {"remaining": stats.remaining}, {"reset": stats.reset_time - time.time()}


class LimitsAsyncSlidingCounter(LimitsAsync):
    strategy = "SlidingWindowCounterRateLimiter"


class LimitsAsyncRedisPy(LimitsAsync):
    packages = ("limits", "redis")
    options = {"implementation": "redispy"}


class FlaskLimiter(Limiter):
    packages = ("Flask-Limiter", "Flask", "limits", "redis")
    strategy = "fixed-window"

    def prepare(self):
        from flask import Flask, request
        from flask_limiter import Limiter as FlaskLimiterExtension
        app = Flask("app")
        limiter = FlaskLimiterExtension(
            lambda: request.headers["X-Client"], app=app, storage_uri=self.address.limits_uri(),
            strategy=self.strategy, headers_enabled=True)
        for name, (count, seconds) in self.rules.items():
            def view():
                return "ok"

            view.__name__ = name
            app.add_url_rule(f"/{name}", name, limiter.limit(f"{count} per {seconds} second")(view))
        # Report exceptions of the storage instead of a page with status 500.
        app.testing = True
        self.app = app

    def hit(self, rule, who):
        response = self.app.test_client().get(f"/{rule}", headers={"X-Client": who})
        assert response.status_code in (200, 429), response.status
        headers = response.headers
        return response.status_code == 200, {
            "status": response.status_code, "remaining": headers["X-RateLimit-Remaining"]
        }, {"retry": float(headers["Retry-After"])}


class FlaskLimiterSlidingCounter(FlaskLimiter):
    strategy = "sliding-window-counter"


class AsgiClient:
    """HTTP requests to an ASGI application, which runs in one event loop as it would in a server."""

    def __init__(self, app):
        from starlette.testclient import TestClient
        self.client = TestClient(app)
        self.client.__enter__()

    def get(self, path, who):
        response = self.client.get(path, headers={"X-Client": who, "X-Forwarded-For": who})
        assert response.status_code in (200, 429), response.text
        seconds = {"retry": float(response.headers["Retry-After"])} if "Retry-After" in response.headers else {}
        return response.status_code == 200, {"status": response.status_code}, seconds


class SlowApi(Limiter):
    packages = ("slowapi", "limits", "fastapi", "redis")

    def prepare(self):
        from fastapi import FastAPI, Request
        from slowapi import Limiter as SlowApiLimiter, _rate_limit_exceeded_handler
        from slowapi.errors import RateLimitExceeded
        limiter = SlowApiLimiter(
            key_func=lambda request: request.headers["X-Client"], storage_uri=self.address.limits_uri())
        app = FastAPI()
        app.state.limiter = limiter
        app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
        for name, (count, seconds) in self.rules.items():
            async def view(request: Request):
                return "ok"

            view.__name__ = name
            app.get(f"/{name}")(limiter.limit(f"{count} per {seconds} second")(view))
        self.client = AsgiClient(app)

    def hit(self, rule, who):
        return self.client.get(f"/{rule}", who)


# Others with scripts of their own


class Throttled(Limiter):
    packages = ("throttled-py", "redis")
    algorithm = "gcra"

    def prepare(self):
        from throttled import Throttled as Throttle, rate_limiter
        from throttled.store import RedisStore
        if self.address.sentinels:
            hosts = ",".join(f"127.0.0.1:{port}" for port in self.address.sentinels)
            store = RedisStore(server=f"redis+sentinel://{hosts}/mymaster")
        else:
            store = RedisStore(server=f"{self.address.url}/0")
        self.throttles = {
            name: Throttle(
                using=self.algorithm, store=store,
                quota=rate_limiter.per_duration(timedelta(seconds=seconds), limit=count, burst=count))
            for name, (count, seconds) in self.rules.items()}

    def hit(self, rule, who):
        result = self.throttles[rule].limit(who)
        state = result.state
        return not result.limited, {"limit": state.limit, "remaining": state.remaining}, {
            "reset": state.reset_after, "retry": state.retry_after}


class ThrottledFixedWindow(Throttled):
    algorithm = "fixed_window"


class ThrottledSlidingWindow(Throttled):
    algorithm = "sliding_window"


class ThrottledTokenBucket(Throttled):
    algorithm = "token_bucket"


class ThrottledLeakingBucket(Throttled):
    algorithm = "leaking_bucket"


class FastapiLimiter(Limiter):
    packages = ("fastapi-limiter", "fastapi", "redis")

    def prepare(self):
        from contextlib import asynccontextmanager

        import redis.asyncio
        from fastapi import Depends, FastAPI
        from fastapi_limiter import FastAPILimiter
        from fastapi_limiter.depends import RateLimiter

        @asynccontextmanager
        async def lifespan(_: FastAPI):
            await FastAPILimiter.init(self.address.client(redis.asyncio))
            yield
            await FastAPILimiter.close()

        app = FastAPI(lifespan=lifespan)
        for name, (count, seconds) in self.rules.items():
            async def view():
                return "ok"

            app.get(f"/{name}", dependencies=[Depends(RateLimiter(times=count, seconds=seconds))])(view)
        self.client = AsgiClient(app)

    def hit(self, rule, who):
        return self.client.get(f"/{rule}", who)


class AsgiRatelimit(Limiter):
    packages = ("asgi-ratelimit", "starlette", "redis")
    units = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}

    def prepare(self):
        import redis.asyncio
        from ratelimit import RateLimitMiddleware, Rule
        from ratelimit.backends.redis import RedisBackend
        from starlette.applications import Starlette
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def view(request):
            return PlainTextResponse("ok")

        async def who(scope):
            return dict(scope["headers"])[b"x-client"].decode(), "default"

        app = Starlette(routes=[Route(f"/{name}", view) for name in self.rules])
        app.add_middleware(
            RateLimitMiddleware, authenticate=who, backend=RedisBackend(self.address.client(redis.asyncio)),
            config={rf"^/{name}": [Rule(**{self.units[seconds]: count})]
                    for name, (count, seconds) in self.rules.items()})
        self.client = AsgiClient(app)

    def hit(self, rule, who):
        return self.client.get(f"/{rule}", who)


class PythonRedisRateLimit(Limiter):
    packages = ("python-redis-rate-limit", "redis")

    def prepare(self):
        import redis
        from redis_rate_limit import RateLimiter, TooManyRequests
        self.refusal = TooManyRequests
        if self.address.sentinels:
            pool = self.address.client(redis).connection_pool
        else:
            pool = redis.ConnectionPool(host="127.0.0.1", port=self.address.port, db=0)
        self.limiters = {
            name: RateLimiter(resource=name, max_requests=count, expire=seconds, redis_pool=pool)
            for name, (count, seconds) in self.rules.items()}

    def hit(self, rule, who):
        limit = self.limiters[rule].limit(client=who)
        try:
            with limit as usage:
                pass
            return True, {"usage": usage}, {}
        except self.refusal:
            return False, {"reached": limit.has_been_reached()}, {"wait": limit.get_wait_time()}


class Cashews(Limiter):
    packages = ("cashews", "redis")

    def prepare(self):
        from cashews import RateLimitError, cache
        self.refusal = RateLimitError
        self.loop = EventLoop()
        # The default, one second, would let calls pass on a busy machine: cashews suppresses the error of a timeout.
        cache.setup(self.address.url, socket_timeout=60)
        self.views = {}
        for name, (count, seconds) in self.rules.items():
            async def view(who):
                return "ok"

            view.__name__ = view.__qualname__ = name
            self.views[name] = cache.rate_limit(
                limit=count, period=timedelta(seconds=seconds), key=name + ":{who}")(view)

    def hit(self, rule, who):
        try:
            self.loop.run(self.views[rule](who))
            return True, {}, {}
        except self.refusal:
            return False, {}, {}


class CashewsSliding(Cashews):
    def prepare(self):
        super().prepare()
        from cashews import cache
        for name, (count, seconds) in self.rules.items():
            async def view(who):
                return "ok"

            view.__name__ = view.__qualname__ = name
            self.views[name] = cache.slice_rate_limit(
                limit=count, period=timedelta(seconds=seconds), key=name + ":{who}")(view)


# Django


class DjangoRatelimit(Limiter):
    """django-ratelimit with Django's own Redis cache."""

    packages = ("django-ratelimit", "Django", "redis")

    def cache(self):
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": self.address.url}

    def prepare(self):
        from django.conf import settings
        settings.configure(
            CACHES={"default": self.cache()}, ALLOWED_HOSTS=["*"], USE_TZ=True, SECRET_KEY="tests",
            SILENCED_SYSTEM_CHECKS=["django_ratelimit.E003", "django_ratelimit.W001"])
        import django
        django.setup()
        from django.http import HttpResponse
        from django.test import RequestFactory
        from django_ratelimit.core import get_usage
        from django_ratelimit.decorators import ratelimit
        self.requests = RequestFactory()
        self.usage = get_usage
        self.views, self.functions = {}, {}
        for name, (count, seconds) in self.rules.items():
            def view(request):
                return HttpResponse(status=429 if request.limited else 200)

            view.__qualname__ = name
            self.functions[name] = view
            self.views[name] = ratelimit(key="header:x-client", rate=f"{count}/{seconds}s", block=False)(view)

    def window_is_safe(self, who, seconds):
        """Windows of this library begin at fixed times, by key. Whether this one lasts for another ten minutes."""
        return (zlib.crc32(who.encode()) - int(time.time())) % seconds > 600

    def hit(self, rule, who):
        seconds = self.rules[rule][1]
        if seconds > 1200:
            who = next(name for name in (f"{who}{n}" for n in range(1000)) if self.window_is_safe(name, seconds))
        request = self.requests.get(f"/{rule}", headers={"X-Client": who})
        response = self.views[rule](request)
        usage = self.usage(
            request, fn=self.functions[rule], key="header:x-client", rate=f"{self.rules[rule][0]}/{seconds}s")
        seen = {"status": response.status_code, "count": usage["count"]}
        return response.status_code == 200, seen, {"left": usage["time_left"]}


class DjangoRedis(DjangoRatelimit):
    """django-ratelimit with django-redis."""

    packages = ("django-redis", "django-ratelimit", "Django", "redis")

    def cache(self):
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"{self.address.url}/{self.address.database}",
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
        }


LIMITERS = {
    "limits fixed window": Limits,
    "limits sliding window counter": LimitsSlidingCounter,
    "limits moving window": LimitsMovingWindow,
    "limits asyncio fixed window": LimitsAsync,
    "limits asyncio fixed window, redis-py": LimitsAsyncRedisPy,
    "limits asyncio sliding window counter": LimitsAsyncSlidingCounter,
    "Flask-Limiter fixed window": FlaskLimiter,
    "Flask-Limiter sliding window counter": FlaskLimiterSlidingCounter,
    "slowapi": SlowApi,
    "throttled-py gcra": Throttled,
    "throttled-py fixed window": ThrottledFixedWindow,
    "throttled-py sliding window": ThrottledSlidingWindow,
    "throttled-py token bucket": ThrottledTokenBucket,
    "throttled-py leaking bucket": ThrottledLeakingBucket,
    "fastapi-limiter": FastapiLimiter,
    "django-ratelimit, Django's cache": DjangoRatelimit,
    "django-ratelimit, django-redis": DjangoRedis,
    "asgi-ratelimit": AsgiRatelimit,
    "python-redis-rate-limit": PythonRedisRateLimit,
    "cashews rate_limit": Cashews,
    "cashews slice_rate_limit": CashewsSliding,
}


class Driver:
    def __init__(self, name):
        self.kind = LIMITERS[name]
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS)

    def attempt(self, rule, who):
        """One call: [allowed, visible, seconds], or an error as text."""
        try:
            return self.limiter.hit(rule, who)
        except Exception as problem:
            return f"{type(problem).__name__}: {problem}"

    def answer(self, request):
        match request["do"]:
            case "open":
                try:
                    self.limiter = self.kind(Address(request), request["rules"])
                except Exception as problem:
                    return {"error": f"{type(problem).__name__}: {problem}"}
                return {"versions": {name: version(name) for name in self.kind.packages}}
            case "hits":
                return {"hits": [self.attempt(request["rule"], request["who"]) for _ in range(request["count"])]}
            case "together":
                barrier = threading.Barrier(THREADS)

                def work():
                    barrier.wait()
                    share = request["count"] // THREADS
                    return [self.attempt(request["rule"], request["who"]) for _ in range(share)]

                found = [self.pool.submit(work) for _ in range(THREADS)]
                return {"hits": [hit for future in found for hit in future.result()]}
        raise ValueError(request)

    def run(self):
        # Libraries may print to standard output; the answers go to the original one.
        answers, sys.stdout = sys.stdout, sys.stderr
        for line in sys.stdin:
            print(json.dumps(self.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    Driver(sys.argv[1]).run()
