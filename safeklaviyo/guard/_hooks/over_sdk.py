"""The REST client of Klaviyo's own SDK for Python (`klaviyo-api`): the guard around another one.

The seam is ``api_client.rest_client``: its ``request`` still gets the body as a dictionary. The SDK encodes that with
Python's own defaults. This module does the same, so that an unchanged body is the SDK's own.
"""

from __future__ import annotations

from io import BytesIO
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Protocol

from safeklaviyo.errors import ConfigurationError
from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeklaviyo.guard._core import Core


class RestClient(Protocol):
    """The part of the SDK's ``RESTClientObject`` that the SDK calls."""

    def request(self, method: Any, url: Any, *options: Any, **named: Any) -> Any:
        """Send a request."""
        ...


class GuardRestClient:
    """A REST client that guards the requests that another one sends.

    Attributes:
        guard: The guard, with its counters.
    """

    def __init__(self, guard: Core, inner: RestClient | None) -> None:
        self.guard = guard
        self._inner = inner or _own_client()

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        """Send a request, guarded."""

        def _send(way: str, to: str, sent: Any) -> Any:
            return self._inner.request(
                way, to, headers=headers, body=sent, post_params=post_params, _request_timeout=_request_timeout
            )

        return send_guarded(self.guard, _send, (method, url, headers or {}, body))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def send_guarded(
    guard: Core, send: Callable[[str, str, Any], Any], request: tuple[str, str, dict[str, str], Any]
) -> Any:
    """Send a request by another client, guarded.

    Args:
        send: Sends a body to a URL, given the method, the URL and the body.
        request: The method, the URL, the headers and the body.
    """
    method, url, headers, body = request
    encoded = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else dumps(body).encode()
    plan = guard.begin(Incoming(method, url, list(headers.items()), encoded))
    if plan.answer is not None:
        return _response(plan.answer)
    if plan.case is None:
        return send(method, url, body)
    # A dictionary goes back as a dictionary, because the SDK encodes what it is given once more.
    with guard.sending(plan):
        changed = loads(plan.body or b"null") if plan.is_changed and not isinstance(body, bytes | str) else plan.body
        answer = send(plan.method, plan.url, changed if plan.is_changed else body)
        content = answer.read() or b""
    reply = Reply(answer.status, list(answer.getheaders().items()), content)
    final = guard.end(plan, reply)
    return answer if final is reply else _response(final)


def _response(reply: Reply) -> Any:
    from openapi_client.rest import RESTResponse  # noqa: PLC0415 - the SDK is loaded where it is used
    from urllib3 import HTTPResponse  # noqa: PLC0415 - as above

    reason = {200: "OK", 201: "Created", 202: "Accepted"}.get(reply.status, "")
    raw = HTTPResponse(
        BytesIO(reply.body), headers=dict(reply.headers), status=reply.status, reason=reason, preload_content=False
    )
    return RESTResponse(raw)


def _own_client() -> RestClient:
    try:
        from openapi_client import configuration, rest  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise ConfigurationError("guard.sdk is for Klaviyo's SDK: pip install klaviyo-api") from exc
    named: Any = configuration.Configuration
    made: RestClient = rest.RESTClientObject(named.get_default())
    return made
