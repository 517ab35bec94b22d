"""A shop's procrastinate app and its worker, for processes of their own. What it is to use comes from the environment.

Run as a program, this is a worker.
"""

import asyncio
import os
import signal

from procrastinate import App, PsycopgConnector

from safeklaviyo import Klaviyo
from safeklaviyo.procrastinate import tasks

app = App(connector=PsycopgConnector(conninfo=os.environ["SHOP_DATABASE"]))
klaviyo = Klaviyo("pk_shop", account="shop", deadline=float(os.environ.get("SHOP_DEADLINE", "10")))
app.add_tasks_from(tasks(klaviyo), namespace="shop")


async def work():
    """Work until told to stop."""
    async with app.open_async():
        await app.run_worker_async(
            concurrency=4, delete_jobs=os.environ.get("SHOP_KEEPS", "always"), fetch_job_polling_interval=0.2
        )


if __name__ == "__main__":
    from shop_procrastinate import work  # under its own name, as procrastinate wants it

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    asyncio.run(work())
