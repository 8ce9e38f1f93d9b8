from django.apps import AppConfig


class OpsConfig(AppConfig):
    name = "starsieve.ops"
    label = "ops"
