"""Throttles in a Django project with Django REST framework."""

from __future__ import annotations

import threading

import django
import pytest
from django.conf import settings

from server import PATIENCE, Server, free_port

settings.configure(
    DEBUG=False,
    SECRET_KEY="test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[],
    DATABASES={},
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
        "DEFAULT_THROTTLE_RATES": {
            "anon": "2/hour",
            "user": "3/hour",
            "uploads": "1/day",
            "contacts": "2/day",
            "unlimited": None,
            "large": "100000/day",
            "burst": "20/hour",
        },
    },
)
django.setup()

from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import throttling  # noqa: E402
from rest_framework.authentication import BaseAuthentication  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

import escapement.drf  # noqa: E402
from escapement import Limit  # noqa: E402


class User:
    is_authenticated = True

    def __init__(self, name: str) -> None:
        self.pk = name


class HeaderAuthentication(BaseAuthentication):
    def authenticate(self, request):
        name = request.headers.get("X-User")
        return (User(name), None) if name else None


class View(APIView):
    authentication_classes = (HeaderAuthentication,)

    def get(self, request):
        return Response("hello")


class BurstThrottle(escapement.drf.UserRateThrottle):
    scope = "burst"
    algorithm = "gcra"


class UnlimitedThrottle(escapement.drf.UserRateThrottle):
    scope = "unlimited"


class LargeThrottle(escapement.drf.UserRateThrottle):
    scope = "large"


class OwnThrottle(escapement.drf.RateThrottle):
    """As derived from SimpleRateThrottle: a rate of its own, and a key."""

    rate = "1/min"

    def get_cache_key(self, request, view):
        return request.headers.get("X-Tenant")


def view(*throttles, **attributes):
    return type("V", (View,), {"throttle_classes": throttles, **attributes}).as_view()


SCOPED = escapement.drf.ScopedRateThrottle
urlpatterns = [
    path("anon", view(escapement.drf.AnonRateThrottle)),
    path("user", view(escapement.drf.UserRateThrottle)),
    path("uploads", view(SCOPED, throttle_scope="uploads")),
    path("contacts", view(SCOPED, throttle_scope="contacts")),
    path("no-scope", view(SCOPED)),
    path("unlimited", view(UnlimitedThrottle)),
    path("large", view(LargeThrottle)),
    path("burst", view(BurstThrottle)),
    path("own", view(OwnThrottle)),
    path("both", view(BurstThrottle, OwnThrottle)),
]


@pytest.fixture
def project(server: Server):
    with override_settings(ESCAPEMENT={"URL": server.url, "TIMEOUT": PATIENCE}):
        yield server


def get(url: str, peer: str = "192.0.2.1", **headers: str):
    return Client(raise_request_exception=False).get(f"/{url}", headers=headers, REMOTE_ADDR=peer)


def statuses(url: str, count: int, *arguments, **headers: str) -> list[int]:
    return [get(url, *arguments, **headers).status_code for _ in range(count)]


def test_anonymous_users_are_limited_by_address(project):
    assert statuses("anon", 3) == [200, 200, 429]
    assert statuses("anon", 1, "192.0.2.2") == [200]
    assert statuses("anon", 4, "192.0.2.3", x_user="ann") == [200] * 4
    refused = get("anon")
    assert 3590 <= int(refused.headers["Retry-After"]) <= 3600
    assert "throttled" in refused.json()["detail"]


def test_users_are_limited_by_id(project):
    assert statuses("user", 4, x_user="ann") == [200, 200, 200, 429]
    assert statuses("user", 1, "192.0.2.2", x_user="ann") == [429]
    assert statuses("user", 1, x_user="bob") == [200]
    assert statuses("user", 4) == [200, 200, 200, 429]


def test_scopes_are_limited_separately(project):
    assert statuses("uploads", 2) == [200, 429]
    assert statuses("contacts", 3) == [200, 200, 429]
    assert statuses("no-scope", 5) == [200] * 5


def test_a_rate_of_none_does_not_limit(project):
    assert statuses("unlimited", 5) == [200] * 5


def test_a_subclass_with_a_rate_and_a_key_of_its_own(project):
    assert statuses("own", 2, x_tenant="a") == [200, 429]
    assert statuses("own", 1, x_tenant="b") == [200]
    assert statuses("own", 3) == [200] * 3  # no key, not limited
    assert int(get("own", x_tenant="a").headers["Retry-After"]) <= 60


def test_several_throttles_in_one_view(project):
    assert statuses("both", 2, x_tenant="c") == [200, 429]


def test_algorithms(project):
    assert LargeThrottle().get_limit() == Limit(100_000, 86_400, algorithm="sliding-window")
    assert BurstThrottle().get_limit() == Limit(20, 3600, algorithm="gcra")
    assert escapement.drf.AnonRateThrottle().get_limit() == Limit(2, 3600, algorithm="sliding-log")
    assert statuses("large", 2) == [200, 200]
    assert statuses("burst", 21)[-1] == 429
    assert int(get("burst").headers["Retry-After"]) <= 180


def test_a_subclass_with_periods_of_its_own(project):
    class HalfASecond(OwnThrottle):
        def parse_rate(self, rate):
            return 7, 0.5

    assert HalfASecond().get_limit().arguments() == (
        *("LIMIT", "7", "PER", "500ms"),
        *("ALGO", "sliding-log"),
    )


def test_they_are_the_frameworks_own_classes():
    for name in ("AnonRateThrottle", "UserRateThrottle", "ScopedRateThrottle"):
        kind = getattr(escapement.drf, name)
        assert issubclass(kind, getattr(throttling, name))
        assert issubclass(kind, escapement.drf.RateThrottle)
    assert issubclass(escapement.drf.RateThrottle, throttling.SimpleRateThrottle)


def test_keys_have_the_prefix(project):
    get("anon")
    with project.client() as client:
        assert client.keys() == [b"drf:throttle_anon_192.0.2.1"]


def test_exactly_the_limit_passes_with_eight_threads(project):
    results: list[int] = []

    def work() -> None:
        results.extend(statuses("burst", 10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results.count(200), results.count(429)) == (20, 60)


def test_on_error_without_a_server():
    url = f"redis://127.0.0.1:{free_port()}"
    with override_settings(ESCAPEMENT={"URL": url}):  # the default is open
        assert statuses("anon", 3) == [200] * 3
        assert escapement.drf.get_limiter().failures.opened == 3
    with override_settings(ESCAPEMENT={"URL": url, "ON_ERROR": "closed"}):
        refused = get("anon")
        assert refused.status_code == 503
        assert refused.json() == {"detail": "The rate limiter is not available."}
        assert escapement.drf.get_limiter().failures.closed == 1
    with override_settings(ESCAPEMENT={"URL": url, "ON_ERROR": "raise"}):
        assert statuses("anon", 1) == [500]


def test_a_suspended_server_is_an_outage(start):
    server: Server = start()
    with (
        override_settings(ESCAPEMENT={"URL": server.url, "TIMEOUT": 0.1, "ON_ERROR": "closed"}),
        server.suspended(),
    ):
        assert statuses("anon", 2) == [503, 503]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ADDRESS": "x"}, "unknown settings: ADDRESS"),
        ({"ON_ERROR": "ignore"}, "'ignore'"),
        ({"URL": "http://x"}, "URL"),
    ],
)
def test_wrong_settings_are_named(values, text):
    with (
        override_settings(ESCAPEMENT=values),
        pytest.raises(ImproperlyConfigured, match=text),
    ):
        escapement.drf.get_limiter()


def test_options_reach_the_client(start):
    server: Server = start(password="secret")
    values = {"URL": server.url, "TIMEOUT": PATIENCE, "ON_ERROR": "raise"}
    with override_settings(ESCAPEMENT={**values, "OPTIONS": {"password": "secret"}}):
        assert statuses("anon", 3) == [200, 200, 429]
