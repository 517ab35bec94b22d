"""The arguments and the help of the gateway."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser

GATEWAY = """\
Stand between a shop in any language and Klaviyo: give the shop's client this address in place of Klaviyo's host. Each
call keeps its own key. The mode says how it is passed on to Klaviyo:

  observe   unchanged; the log says what enforce would have done (this is the default)
  enforce   made safe: identifiers are completed, and first contacts made; a call that cannot be made safe is refused
  off       unchanged and unlogged

It needs the identity map, and KLAVIYO_API_KEY, which callers have to present too. Calls of the retired endpoints
(/api/track, /api/identify, /api/v2/people/search, /api/v1/person) are carried out on the current API in each mode. They
may name the public key from this host only, or with the gateway's token.

  /-/health     200 while it runs
  /-/ready      200 if the map answers, else 503
  /-/metrics    for Prometheus; needs the header safeklaviyo-token
  /-/decisions  the last thousand decisions, as JSON lines; likewise

The token is read from --token-file, or from SAFEKLAVIYO_GATEWAY_TOKEN. SIGTERM or Ctrl-C ends it after the calls in
hand, within 30 seconds.
"""


def add_gateway(command: ArgumentParser) -> None:
    """Add the arguments of a gateway, but for those that say where the map is."""
    command.add_argument(
        "--listen", type=_listen, default="127.0.0.1:8080", metavar="WHERE",
        help="HOST:PORT, or unix:PATH (127.0.0.1:8080)",
    )  # fmt: skip
    command.add_argument(
        "--mode", choices=["observe", "enforce", "off"], default="observe",
        help="how all calls are passed on (observe)",
    )  # fmt: skip
    command.add_argument(
        "--mode-file", metavar="FILE",
        help='the mode of single operations, as JSON: {"create_event": "enforce"}; the others have --mode',
    )  # fmt: skip
    command.add_argument("--decision-log", metavar="FILE", help="the file for the decision log, as JSON lines")
    command.add_argument(
        "--on-store-failure", choices=["refuse", "forward"], default="refuse",
        help="what enforce does with a call while the map does not answer (refuse)",
    )  # fmt: skip
    command.add_argument(
        "--drift", choices=["refuse", "adopt"], default="refuse",
        help="in enforce, where Klaviyo shows another pair than the map (refuse)",
    )  # fmt: skip
    command.add_argument("--token-file", metavar="FILE", help="the file that holds the gateway's token")


def _listen(text: str) -> dict[str, Any]:
    if text.startswith("unix:") and len(text) > 5:
        return {"uds": text[5:]}
    # From the right, because an IPv6 address has colons of its own.
    host, mark, port = text.rpartition(":")
    if not mark or not port.isdigit() or int(port) > 65535:
        raise ArgumentTypeError("give HOST:PORT, or unix:PATH")
    return {"host": host.strip("[]") or "127.0.0.1", "port": int(port)}
