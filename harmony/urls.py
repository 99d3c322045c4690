"""All addresses."""

from django.contrib import admin
from django.urls import include, path

from harmony import health

urlpatterns = [
    path("", include("annotation.urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
