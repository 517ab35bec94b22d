"""How many examples a test of a property tries: a quarter of them in a quick run, and all in `.ci/long`.

Quick runs are many, and each draws other examples. A test that takes less than half a second with all of them says its
number as it is.
"""

import os

_ARE_ALL_TRIED = os.environ.get("SAFEKLAVIYO_TEST_EXAMPLES") == "all"


def examples(most: int) -> int:
    """Return how many of so many examples this run tries."""
    return most if _ARE_ALL_TRIED else most // 4
