from django.apps import AppConfig


class CataloguesConfig(AppConfig):
    name = "starsieve.catalogues"
    label = "catalogues"
