"""The settings of a shop on Django, for processes of their own. The databases come from the environment."""

import json
import os

import httpx

from safeklaviyo.testing import KlaviyoSimulator

SECRET_KEY = "of the tests"
DATABASES = json.loads(os.environ["SHOP_DATABASES"])
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "django.contrib.messages",
    "allauth", "allauth.account", "safeklaviyo.django", "django_shop",
]  # fmt: skip
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
OF_REQUESTS = "django.template.context_processors.request"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [OF_REQUESTS, "django.contrib.messages.context_processors.messages"]},
    }
]
ROOT_URLCONF = "django_shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SIMULATOR = KlaviyoSimulator(account="shop")
SAFEKLAVIYO = {
    "api_key": "pk_shop",
    "account": "shop",
    "http_client": httpx.Client(transport=SIMULATOR.transport),
    "allauth_user_id": "pk",
    **json.loads(os.environ.get("SHOP_SAFEKLAVIYO", "{}")),
}
