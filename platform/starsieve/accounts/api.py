"""API tokens over the API itself: listed and revoked by their owner, made only from a signed-in session."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.permissions import IsAuthenticated

from starsieve.accounts.authentication import SessionOnly, TokenScope
from starsieve.accounts.models import ApiToken, User
from starsieve.accounts.services import AccountError, make_token, revoke_token
from starsieve.api.problems import Conflict


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = ["id", "name", "scope", "created_at", "last_used_at", "expires_at"]
        read_only_fields = ["id", "created_at", "last_used_at"]

    def validate_expires_at(self, moment: Any) -> Any:
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("This moment has passed; leave the field out for a token without end.")
        return moment


class MadeTokenSerializer(TokenSerializer):
    key = serializers.CharField(read_only=True, help_text="Shown this once; only its hash is stored.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "key"]


class OwnTokens(generics.GenericAPIView[ApiToken]):
    serializer_class = TokenSerializer

    def get_queryset(self) -> QuerySet[ApiToken]:
        if not isinstance(self.request.user, User):
            return ApiToken.objects.none()
        return self.request.user.api_tokens.filter(revoked_at=None)


@extend_schema_view(
    get=extend_schema(operation_id="list_tokens", summary="Your API tokens that are not revoked"),
    post=extend_schema(
        operation_id="make_token",
        summary="Make an API token",
        description="Needs a session cookie: a token cannot make another one.",
        responses=MadeTokenSerializer,
    ),
)
class TokenList(OwnTokens, generics.ListCreateAPIView[ApiToken]):
    permission_classes = [IsAuthenticated, TokenScope, SessionOnly]

    def perform_create(self, serializer: serializers.BaseSerializer[ApiToken]) -> None:
        assert isinstance(self.request.user, User)  # IsAuthenticated stands before
        wanted = serializer.validated_data
        try:
            token, key = make_token(
                user=self.request.user,
                name=wanted["name"],
                scope=wanted.get("scope", ApiToken.Scope.READ),
                expires_at=wanted.get("expires_at"),
            )
        except AccountError as error:
            raise Conflict(str(error)) from error
        token.key = key  # type: ignore[attr-defined]  # for this answer only
        serializer.instance = token

    def get_serializer_class(self) -> type[serializers.BaseSerializer[ApiToken]]:
        return MadeTokenSerializer if self.request.method == "POST" else TokenSerializer


@extend_schema_view(delete=extend_schema(operation_id="revoke_token", summary="Revoke an API token at once"))
class TokenDetail(OwnTokens, generics.DestroyAPIView[ApiToken]):
    permission_classes = [IsAuthenticated, TokenScope]

    def perform_destroy(self, instance: ApiToken) -> None:
        revoke_token(token=instance)
