"""`manage.py load_demo`: what `make demo` fills a new database with."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from starsieve.ops.demo.build import FULL, SMALL, build_demo


class Command(BaseCommand):
    help = "Make the three demo projects on real galaxies, their people and their network; keeps what is there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--small", action="store_true", help="few stamps, for tests")

    def handle(self, *args: Any, **options: Any) -> None:
        build_demo(SMALL if options["small"] else FULL, self.stdout.write)
