"""`manage.py models`: the registered models, with what they were trained on."""

from typing import Any

from django.core.management.base import BaseCommand

from ml_worker.models import ModelVersion


class Command(BaseCommand):
    help = "List the models that a prefilter batch can run."

    def handle(self, *args: Any, **options: Any) -> None:
        for model in ModelVersion.objects.order_by("name", "version"):
            self.stdout.write(f"{model.name}:{model.version}  {model.architecture}  {model.sha256[:12]}")
            self.stdout.write(f"    {model.provenance}")
        if not ModelVersion.objects.exists():
            self.stdout.write("No models yet; `manage.py train_model` makes one.")
