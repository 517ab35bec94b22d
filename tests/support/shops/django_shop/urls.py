"""The pages of the shop."""

from django.db import transaction
from django.http import HttpResponse
from django.urls import include, path

from django_shop.models import Order
from safeklaviyo.django import aget_klaviyo, get_klaviyo


def order(request):
    """Place an order, and fail afterwards if that is asked for."""
    placed = Order.objects.create(total="12.50")
    queued = get_klaviyo().outbox.track(
        "Placed Order", external_id="7", email="ada@shop.test", value=placed.total, unique_id=f"order-{placed.pk}"
    )
    if "fail" in request.GET:
        raise ValueError(placed.pk)
    return HttpResponse(queued.unique_id)


@transaction.non_atomic_requests
async def viewed(request):
    """Queue an event in an asynchronous view."""
    klaviyo = await aget_klaviyo()
    queued = await klaviyo.outbox.track("Viewed Product", external_id="7", email="ada@shop.test")
    return HttpResponse(queued.unique_id)


urlpatterns = [path("order", order), path("viewed", viewed), path("accounts/", include("allauth.urls"))]
