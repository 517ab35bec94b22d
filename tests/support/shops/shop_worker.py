"""The worker of a shop whose calls may take as long as the environment says. Run as a program."""

import logging
import os
import sys
from argparse import Namespace

from safeklaviyo import Klaviyo
from safeklaviyo.cli import _worker

logging.basicConfig(level=logging.INFO)
with Klaviyo(account="shop", deadline=float(os.environ["SHOP_DEADLINE"])) as klaviyo:
    sys.exit(_worker.run(klaviyo, Namespace(threads=4, grace=20, health=None)))
