from django.db import migrations, models


def mark_training_subjects(apps, schema_editor):
    gold = apps.get_model("classify", "GoldStandard").objects.filter(
        give_feedback=True, workflow=models.OuterRef("workflow"), subject=models.OuterRef("subject")
    )
    apps.get_model("classify", "SubjectProgress").objects.filter(models.Exists(gold)).update(is_training=True)


class Migration(migrations.Migration):
    """On its own: PostgreSQL will not change a table again in the transaction that has updated its rows."""

    dependencies = [("classify", "0003_live")]

    operations = [migrations.RunPython(mark_training_subjects, migrations.RunPython.noop)]
