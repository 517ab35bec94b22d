"""What the tests of identity changes share with those of the operations: the scenes beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "operations"))
