"""The adapter for requests: the guard around another adapter."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from safeklaviyo.guard._plans import Incoming
from safeklaviyo.guard._write.replies import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from safeklaviyo.guard._core import Core
    from safeklaviyo.guard._plans import Plan


class GuardAdapter(BaseAdapter):
    """An adapter that guards the requests that another adapter sends.

    Use it with ``session.mount("https://a.klaviyo.com", adapter)``.

    Attributes:
        guard: The guard, with its counters.
    """

    def __init__(self, guard: Core, inner: BaseAdapter | None) -> None:
        super().__init__()
        self.guard = guard
        self._inner = inner or HTTPAdapter()

    def send(self, request: requests.PreparedRequest, *options: Any, **named: Any) -> requests.Response:
        """Send a request, guarded."""
        return send_guarded(self.guard, lambda outgoing: self._inner.send(outgoing, *options, **named), request)

    def close(self) -> None:
        """Close the other adapter, and write what waits for the log."""
        self._inner.close()
        self.guard.close()


def send_guarded(
    guard: Core, send: Callable[[requests.PreparedRequest], requests.Response], request: requests.PreparedRequest
) -> requests.Response:
    """Send a request by another adapter, guarded."""
    method, url = request.method or "", request.url or ""
    body: bytes | None = None
    if guard.wants(method, url):
        request, body = _with_body(request)
    plan = guard.begin(Incoming(method, url, list(request.headers.items()), body))
    if plan.answer is not None:
        return _response(request, plan.answer)
    if plan.case is None:
        return send(request)
    # The content is read within, so that an answer that breaks off is recorded as lost.
    with guard.sending(plan):
        answer = send(_outgoing(request, plan))
        content = answer.content
    reply = Reply(answer.status_code, list(answer.headers.items()), content)
    final = guard.end(plan, reply)
    if final.body is not content:
        return _response(request, final)
    answer.status_code = final.status
    return answer


def _with_body(request: requests.PreparedRequest) -> tuple[requests.PreparedRequest, bytes]:
    """Read a request's body; return a request that can still be sent, and the body."""
    body: Any = request.body
    if body is None or isinstance(body, bytes):
        return request, body or b""
    if isinstance(body, str):
        return request, body.encode()
    # A file or a generator can be read only once, so a copy of the request gets the bytes in its place.
    whole: bytes | str = body.read() if hasattr(body, "read") else b"".join(cast("list[bytes]", [*body]))
    copied = request.copy()
    copied.body = whole.encode() if isinstance(whole, str) else whole
    copied.headers.pop("Transfer-Encoding", None)
    copied.headers["Content-Length"] = str(len(copied.body))
    return copied, copied.body


def _outgoing(request: requests.PreparedRequest, plan: Plan) -> requests.PreparedRequest:
    if not plan.is_changed:
        return request
    changed = request.copy()
    changed.method, changed.url, changed.body = plan.method, plan.url, plan.body
    changed.headers = CaseInsensitiveDict(plan.headers)
    return changed


def _response(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    """Return the guard's own reply as a response of requests."""
    raw = HTTPResponse(BytesIO(reply.body), headers=dict(reply.headers), status=reply.status, preload_content=False)
    return HTTPAdapter().build_response(request, cast("Any", raw))
