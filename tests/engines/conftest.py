"""What the tests of the engines share. Each of them needs a server, but for those of SQLite."""

import pytest

_SERVERS = {"support.postgres_servers", "support.redis_servers"}


def pytest_collection_modifyitems(items):
    """Mark the tests of each module that uses a server, so that ``-m "not server"`` leaves them out."""
    for item in items:
        if _SERVERS & {str(getattr(each, "__module__", None)) for each in vars(item.module).values()}:
            item.add_marker(pytest.mark.server)
