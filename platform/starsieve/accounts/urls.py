"""Pages."""

from django.urls import path

from starsieve.accounts import views

urlpatterns = [
    path("account/", views.profile, name="account_profile"),
    path("account/theme/", views.theme, name="set_theme"),
    path("account/tokens/", views.tokens, name="account_tokens"),
    path("account/tokens/<int:token_id>/revoke/", views.revoke, name="account_revoke_token"),
    path("account/data/", views.own_data, name="account_data"),
    path("account/delete/", views.delete, name="account_delete"),
]
