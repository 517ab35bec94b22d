"""The command `gateway`: serves the guard to shops in any language, with uvicorn."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safeklaviyo.cli._console import complain, require, say
from safeklaviyo.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import Namespace
    from socket import socket

    from uvicorn import Server

    from safeklaviyo.gateway import Gateway

_GRACE: Final = 30
"""Seconds that the calls in hand may take after the first signal."""
_IDLE: Final = 120
"""Seconds that a connection may be idle. A caller that keeps its own for longer than the server (Go for 90 s, curl for
118 s) at times sends into one that is being closed, and it may not repeat a POST with a lost answer."""
_TOKEN: Final = "SAFEKLAVIYO_GATEWAY_TOKEN"  # noqa: S105 - a variable's name


def gateway(arguments: Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, and finish the calls in hand."""
    require("uvicorn", "prometheus_client", extra="gateway")
    app = _application(arguments)
    # httpx logs the URL of each request at INFO, and some hold addresses.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not arguments.listen.get("uds") and not str(arguments.listen["host"]).startswith(("127.", "::1", "localhost")):
        complain("the gateway listens beyond this host: callers' keys travel in the clear unless something adds TLS")
    server = _server(app, arguments.listen, arguments.mode)
    server.run()
    return 0 if server.started else 1


def _application(arguments: Namespace) -> Gateway:
    from safeklaviyo import AsyncKlaviyo, Policy  # noqa: PLC0415 - loaded where it is used
    from safeklaviyo.gateway import Gateway  # noqa: PLC0415 - as above

    mode: Any = arguments.mode if arguments.mode_file is None else _modes(arguments.mode_file, arguments.mode)
    client = AsyncKlaviyo(
        store=arguments.store, account=arguments.account, base_url=arguments.base_url,
        policy=Policy(drift=arguments.drift),
    )  # fmt: skip
    return Gateway(
        client,
        mode=mode,
        decision_log=arguments.decision_log,
        on_store_failure=arguments.on_store_failure,
        token=_token(arguments.token_file),
    )


def _server(app: Gateway, listen: dict[str, Any], mode: str) -> Server:
    """Return the server, which says when it listens, for a script that waits for that."""
    import uvicorn  # noqa: PLC0415 - an extra

    class Announced(uvicorn.Server):
        """The server that says where it listens."""

        async def startup(self, sockets: list[socket] | None = None) -> None:
            """Listen, and say where: with port 0 the address is known only then."""
            await super().startup(sockets)
            if self.started:
                where = _named(listen, self.servers[0].sockets[0].getsockname())
                say(f"the gateway listens on {where} until Ctrl-C ({mode})")
                # A script reads from a pipe, which Python would fill before it writes.
                sys.stdout.flush()

    config = uvicorn.Config(
        app, **listen, log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        ws="none", lifespan="on", timeout_graceful_shutdown=_GRACE, timeout_keep_alive=_IDLE,
    )  # fmt: skip
    return Announced(config)


def _named(listen: dict[str, Any], bound: Any) -> str:
    """Name where it listens. With port 0 the system has chosen one, which only the socket knows."""
    if "uds" in listen:
        return f"unix:{listen['uds']}"
    host = f"[{listen['host']}]" if ":" in listen["host"] else listen["host"]
    return f"http://{host}:{bound[1]}"


def _modes(path: str, otherwise: str) -> dict[str, str]:
    """Return the mode of each operation from a file of JSON; those that it leaves out have the other one.

    Raises:
        ConfigurationError: The file is no JSON object.
    """
    from safeklaviyo.guard._decide.verdicts import OPERATIONS  # noqa: PLC0415 - loaded where it is used

    try:
        given = json.loads(Path(path).read_text("utf-8"))
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ConfigurationError('the file of --mode-file has to be a JSON object, such as {"create_event": "enforce"}')
    return {**dict.fromkeys(OPERATIONS, otherwise), **given}


def _token(path: str | None) -> str | None:
    """Return the gateway's token, from a file or from the environment; never from the command line, which all can read.

    Raises:
        ConfigurationError: The token is too short to be a secret.
    """
    token = os.environ.get(_TOKEN) if path is None else Path(path).read_text("utf-8").strip()
    if token is not None and len(token) < 16:
        raise ConfigurationError("the gateway's token has to have at least 16 characters")
    return token
