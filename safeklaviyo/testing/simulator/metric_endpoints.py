"""The endpoints about metrics (Klaviyo's Metrics reference). A metric comes into being with its first event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeklaviyo.testing.simulator.documents import metric_document
from safeklaviyo.testing.simulator.filters import SAME
from safeklaviyo.testing.simulator.pages import Listing
from safeklaviyo.testing.simulator.refusals import Refusal
from safeklaviyo.testing.simulator.shapes import many, one, shape

if TYPE_CHECKING:
    from safeklaviyo.testing.simulator.accounts import Account
    from safeklaviyo.testing.simulator.records import Answer, Asked, Metric

_INCLUDES = ("flow-triggers",)
_METRICS: Listing[Metric] = Listing(
    {"integration.name": SAME, "integration.category": SAME},
    {"integration.name": lambda metric: metric.integration, "integration.category": lambda metric: metric.category},
    usual=200,
    largest=200,
)


def get_metrics(account: Account, asked: Asked) -> Answer:
    """The metrics, in the order of their first event."""
    shown = shape(asked, _INCLUDES)
    rows, links = _METRICS.page(asked, account.metrics.values())
    return many(asked, [metric_document(row, shown) for row in rows], links)


def get_metric(account: Account, asked: Asked) -> Answer:
    """One metric."""
    shown = shape(asked, _INCLUDES)
    return one(asked, metric_document(existing(account, asked.named), shown))


def existing(account: Account, metric_id: str) -> Metric:
    """Return a metric.

    Raises:
        Refusal: 404.
    """
    for metric in account.metrics.values():
        if metric.id == metric_id:
            return metric
    raise Refusal(404, f"A metric with id {metric_id} does not exist.")
