from django.apps import AppConfig


class MlWorkerConfig(AppConfig):
    name = "ml_worker"
    label = "ml_worker"
