"""Where requests go, and how long an attempt may take."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from safeklaviyo.errors import ConfigurationError
from support.wire import senders, target


class TestLimits:
    @pytest.mark.parametrize(
        ("timeout", "read", "limit"),
        [
            (10, 10.0, 10.0),
            (0.5, 0.5, 0.5),
            (httpx.Timeout(5), 5.0, 10.0),
            (httpx.Timeout(5, connect=1), 5.0, 6.0),
            (httpx.Timeout(None), 60.0, 120.0),
            (httpx.Timeout(None, read=3), 3.0, 63.0),
        ],
    )
    def test_accepted(self, timeout: Any, read: float, limit: float) -> None:
        """Seconds hold for the whole attempt; an `httpx.Timeout` for its phases, and nothing is endless (F-22)."""
        made = senders.timeouts(timeout)
        assert (read, limit) == (made.phases["read"], made.limit)

    def test_within(self) -> None:
        """An attempt takes no longer than its call allows for it, and no longer than the client's timeout."""
        made = senders.timeouts(httpx.Timeout(5, connect=1))
        assert made is made.within(None) is made.within(6.0)
        assert {"connect": 1.0, "read": 2.0, "write": 2.0, "pool": 2.0} == made.within(2.0).phases
        assert 2.0 == made.within(2.0).limit

    @pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, None, "10", httpx.Timeout(0)])
    def test_refused(self, timeout: Any) -> None:
        """What is no time to wait is refused."""
        with pytest.raises(ConfigurationError, match="timeout"):
            senders.timeouts(timeout)


class TestTarget:
    @pytest.mark.parametrize(
        ("base", "wanted"),
        [
            ("https://a.klaviyo.com", "https://a.klaviyo.com"),
            ("HTTPS://A.Klaviyo.com/", "https://a.klaviyo.com"),
            ("https://proxy.shop.dev:8443", "https://proxy.shop.dev:8443"),
            ("http://localhost:8000", "http://localhost:8000"),
            ("http://127.0.0.9", "http://127.0.0.9"),
            ("http://[::1]:65535", "http://[::1]:65535"),
        ],
    )
    def test_accepted(self, base: str, wanted: str) -> None:
        """A scheme and a host, with a port if there is one."""
        made = target(base)
        assert (wanted, f"Target({wanted!r})") == (made.base, repr(made))
        assert ("klaviyo" in wanted) == made.is_klaviyo

    @pytest.mark.parametrize(
        "base",
        [
            "", "a.klaviyo.com", "ftp://a.klaviyo.com", "https://", "https://a.klaviyo.com/api", "https://a.b?c",
            "https://a.b#c", "https://user:hunter2@a.b", "https://a b", "https://ä.de", "https://a.b:65536", "https://a.b:",
            "http://a.klaviyo.com", "http://127.0.0.1.evil.dev", "http://0.0.0.0", None, 5, b"https://a.klaviyo.com",
        ],
    )  # fmt: skip
    def test_refused(self, base: Any) -> None:
        """Anything else is refused, and so is plain http to other machines; what was given is not repeated."""
        with pytest.raises(ConfigurationError, match="base_url") as caught:
            target(base)
        assert "hunter2" not in str(caught.value)

    def test_trailing_dot(self) -> None:
        """Klaviyo's host is Klaviyo's host, also as the DNS writes it."""
        assert target("https://a.klaviyo.com.").is_klaviyo
