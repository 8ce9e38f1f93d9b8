"""What the prefilter API takes and answers."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ml_worker.models import HISTOGRAM_BINS, ModelVersion, PrefilterBatch, Shard
from ml_worker.services import LARGEST_SEED, LARGEST_SHARD

LARGEST_ID = 2**63 - 1
MOST_SHARDS_LISTED = 200


class WholeNumber(serializers.IntegerField):
    """An integer written as a JSON number: no "12", no 12.0, no true."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return int(super().to_internal_value(data if abs(data) <= LARGEST_ID else LARGEST_ID + 1))


class Share(serializers.FloatField):
    """A JSON number between 0 and 1."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=1, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            self.fail("invalid")
        return float(super().to_internal_value(min(max(data, -1), 2)))  # a 400-digit integer overflows a float


class ModelSerializer(serializers.ModelSerializer[ModelVersion]):
    class Meta:
        model = ModelVersion
        fields = ["id", "name", "version", "architecture", "sha256", "provenance", "metrics", "created_at"]
        read_only_fields = fields


class LaunchSerializer(serializers.Serializer[Any]):
    """Exactly one of `show_above` and `show_fraction` is given."""

    workflow = WholeNumber(min_value=1, max_value=LARGEST_ID)
    subject_set = WholeNumber(min_value=1, max_value=LARGEST_ID, help_text="A subject set linked to the workflow.")
    model = WholeNumber(min_value=1, max_value=LARGEST_ID)
    show_above = Share(required=False, allow_null=True, help_text="Scores from here on are shown.")
    show_fraction = Share(required=False, allow_null=True, help_text="The best-scoring part that is shown.")
    control_fraction = Share(default=0.05, help_text="The part of the rest that is shown nevertheless, as a control.")
    shard_size = WholeNumber(default=64, min_value=1, max_value=LARGEST_SHARD)
    seed = WholeNumber(
        required=False, allow_null=True, min_value=0, max_value=LARGEST_SEED, help_text="Decides the control sample."
    )


class ProgressSerializer(serializers.Serializer[Any]):
    n_subjects = serializers.IntegerField()
    n_scored = serializers.IntegerField()
    n_unreadable = serializers.IntegerField(help_text="Subjects with a missing or broken stamp, left as they were.")
    n_shards = serializers.IntegerField()
    n_done = serializers.IntegerField(help_text="Shards done.")
    n_failed = serializers.IntegerField(help_text="Shards failed.")


class RoutingSerializer(serializers.Serializer[Any]):
    """Empty until the batch is done."""

    shown = serializers.IntegerField(required=False)
    held = serializers.IntegerField(required=False)
    control = serializers.IntegerField(required=False, help_text="Below the cut, shown as a control sample.")
    left_alone = serializers.IntegerField(required=False, help_text="Without a score, left as they were.")


class UnreadableSerializer(serializers.Serializer[Any]):
    subject = serializers.IntegerField()
    name = serializers.CharField()
    reason = serializers.CharField()


class ShardSerializer(serializers.ModelSerializer[Shard]):
    unreadable = UnreadableSerializer(many=True, read_only=True, help_text="The first hundred of them.")
    can_retry = serializers.BooleanField(read_only=True)

    class Meta:
        model = Shard
        fields = [
            "index", "state", "n_subjects", "n_scored", "n_unreadable", "unreadable", "attempts", "heartbeat_at",
            "error", "can_retry",
        ]  # fmt: skip
        read_only_fields = fields


class BatchSerializer(serializers.ModelSerializer[PrefilterBatch]):
    model = ModelSerializer(read_only=True)
    progress = ProgressSerializer(source="*", read_only=True)
    routing = RoutingSerializer(read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = PrefilterBatch
        fields = [
            "id", "workflow", "subject_set", "model", "show_above", "show_fraction", "control_fraction", "shard_size",
            "seed", "state", "progress", "routing", "cancel_requested_at", "created_by", "created_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


class BatchDetailSerializer(BatchSerializer):
    shards = serializers.SerializerMethodField(
        help_text=f"At most {MOST_SHARDS_LISTED}, failed and running ones first; …/shards lists all."
    )
    histogram = serializers.SerializerMethodField(
        help_text=f"How many scores lie in each of {HISTOGRAM_BINS} equal bins over [0, 1]."
    )

    class Meta(BatchSerializer.Meta):
        fields = [*BatchSerializer.Meta.fields, "histogram", "shards"]
        read_only_fields = fields

    @extend_schema_field(ShardSerializer(many=True))
    def get_shards(self, batch: PrefilterBatch) -> Any:
        return ShardSerializer(batch.shards.worth_a_look_first()[:MOST_SHARDS_LISTED], many=True).data

    def get_histogram(self, batch: PrefilterBatch) -> list[int]:
        return batch.shards.all().histogram()
