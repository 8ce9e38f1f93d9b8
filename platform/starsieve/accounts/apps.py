from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "starsieve.accounts"
    label = "accounts"
