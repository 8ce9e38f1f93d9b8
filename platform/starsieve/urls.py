"""Every address of the platform; each room owns its own list."""

from django.contrib import admin
from django.urls import include, path, re_path

from starsieve.api.views import unknown
from starsieve.ops.views import background_work

urlpatterns = [
    path("admin/work", background_work, name="background_work"),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
    path("", include("starsieve.accounts.urls")),
    path("", include("starsieve.projects.urls")),
    path("", include("classify.urls")),
    path("", include("ml_worker.urls")),
    path("", include("starsieve.catalogues.urls")),
    path("", include("starsieve.ops.urls")),
    path("api/v1/", include("starsieve.api.urls")),
    path("api/v1/", include("starsieve.accounts.api_urls")),
    path("api/v1/", include("starsieve.projects.api_urls")),
    path("api/v1/", include("classify.api_urls")),
    path("api/v1/", include("ml_worker.api_urls")),
    path("api/v1/", include("starsieve.catalogues.api_urls")),
    re_path(r"^api/", unknown, name="api_unknown"),
]
handler400 = "starsieve.ops.views.bad_request"
handler403 = "starsieve.ops.views.permission_denied"
handler404 = "starsieve.ops.views.page_not_found"
handler429 = "starsieve.ops.views.too_many_requests"  # allauth's rate limits
handler500 = "starsieve.ops.views.server_error"
