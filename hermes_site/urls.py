from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

from gateway_app.platforms.webchat.signin import sign_in_by_link

admin.autodiscover()  # not in every process: workers and listeners have no pages

urlpatterns = [
    path("", include("gateway_app.health.urls")),
    path("", RedirectView.as_view(pattern_name="webchat:index")),
    path("chat/", include("gateway_app.platforms.webchat.urls")),
    path(
        "sign-in/",
        LoginView.as_view(template_name="webchat/sign_in.html", redirect_authenticated_user=True),
        name="sign-in",
    ),
    path("sign-in/link", sign_in_by_link, name="sign-in-link"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path(f"{settings.ADMIN_PATH}/", admin.site.urls),
]
