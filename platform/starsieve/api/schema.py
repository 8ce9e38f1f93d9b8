"""The OpenAPI description tells every refusal that an endpoint can give, in the shape that problems.py sends."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiResponse
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated

from starsieve.api.problems import MEDIA_TYPE


class FieldErrorSerializer(serializers.Serializer[dict[str, str]]):
    field = serializers.CharField()
    message = serializers.CharField()


class ProblemSerializer(serializers.Serializer[dict[str, Any]]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]  # RFC 9457's word is also a property's


DESCRIPTIONS = {
    "400": "The request is malformed",
    "401": "Not signed in, or the token is not valid",
    "403": "Not allowed for this role or token scope",
    "404": "No such object, or it may not be seen",
    "405": "Method not allowed",
    "406": "No such representation",
    "409": "It conflicts with what is stored",
    "413": "The body is too large",
    "415": "The body must be JSON",
    "422": "A field's content is refused; `errors` names it",
    "429": "Too many requests; wait for Retry-After seconds",
}


class ProblemAutoSchema(AutoSchema):
    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        """Added here, and not to the serializers, because @extend_schema(responses=…) replaces those."""
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for code in self._refusals():
            if code not in bodies:
                refusal = OpenApiResponse(ProblemSerializer, description=DESCRIPTIONS[code])
                bodies[code] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                    refusal, code, [MEDIA_TYPE], direction
                )
        return dict(sorted(bodies.items()))

    def get_auth(self) -> list[dict[str, Any]]:
        """Anybody may call what does not ask for a signed-in user; what they are told depends on the object."""
        schemes: list[dict[str, Any]] = [scheme for scheme in super().get_auth() if scheme]
        needs_user = any(isinstance(each, IsAuthenticated) for each in self.view.get_permissions())
        return schemes if needs_user else [*schemes, {}]

    def _refusals(self) -> list[str]:
        writes = ["409", "413", "415", "422"] if self.method in ("POST", "PUT", "PATCH") else []
        return ["400", "401", "403", "404", "405", "406", *writes, "429"]
