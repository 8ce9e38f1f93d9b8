from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "starsieve.projects"
    label = "projects"
