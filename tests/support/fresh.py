"""Processes that inherit nothing from the tests', and yet load nothing again: forks of one that has loaded it all.

A process of `multiprocessing`'s kind "spawn" is as fresh, and takes a second to load what its test imports.
"""

from multiprocessing import get_context

from support.clients import BOTH

FRESH = get_context("forkserver")
FRESH.set_forkserver_preload([
    "pytest",
    "httpx",
    "email_validator",
    "psycopg",
    "psycopg_pool",
    "redis",
    "redis.asyncio",
    *BOTH,
    "safeklaviyo.stores.postgres",
    "safeklaviyo.stores.redis",
    "safeklaviyo.stores.sqlite",
])  # fmt: skip
