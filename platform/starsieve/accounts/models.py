"""Users and the API tokens they make."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower


class User(AbstractUser):
    class Theme(models.TextChoices):
        DARK = "dark", "Dark"
        LIGHT = "light", "Light"

    theme = models.CharField(max_length=5, choices=Theme.choices, default=Theme.DARK)
    credit_name = models.CharField(
        max_length=120,
        blank=True,
        help_text="The name under which papers may thank you; empty means: not by name.",
    )

    class Meta(AbstractUser.Meta):
        constraints = [models.UniqueConstraint(Lower("username"), name="username_unique_ignoring_case")]

    def __str__(self) -> str:
        return self.username


class ApiToken(models.Model):
    """A key for scripts. Only its SHA-256 is stored; the key itself is shown once, when made."""

    class Scope(models.TextChoices):
        READ = "read", "Read"
        CLASSIFY = "classify", "Classify"
        ADMIN = "admin", "Administer"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.READ)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.scope})"
