"""Run inside a test site (`Site.execute`): a question, and the votes of a simulated crowd on its subjects."""

import json
import os
import uuid

import numpy as np
from django.utils import timezone

from classify.models import Classification, GoldStandard, Volunteer
from starsieve.accounts.models import User
from starsieve.projects.models import Project, Subject, SubjectSet
from starsieve.projects.services import create_workflow

N_SUBJECTS, N_VOLUNTEERS, VOTES_EACH = (int(os.environ[name]) for name in ("SUBJECTS", "VOLUNTEERS", "VOTES_EACH"))
ANSWERS = [{"key": key, "label": key} for key in ("smooth", "features", "artifact")]
TASK = {"type": "single", "name": "shape", "question": "Is the galaxy smooth?", "answers": ANSWERS}

rng = np.random.default_rng(3)
owner = User.objects.create_user("owner", "owner@example.org", "Volunteer!23")
project = Project.objects.create(title="Field", slug="field", status="live", created_by=owner)
definition = {"first": "T0", "tasks": {"T0": TASK}, "retirement": {"classification_count": 100}}
workflow = create_workflow(project=project, name="Main", definition=definition, user=owner)
subject_set = SubjectSet.objects.create(project=project, name="Field 1")
Subject.objects.bulk_create(
    (Subject(project=project, subject_set=subject_set, name=f"s{number}", frames=[]) for number in range(N_SUBJECTS)),
    batch_size=5000,
)
subjects = list(Subject.objects.order_by("id").values_list("id", flat=True))
Volunteer.objects.bulk_create(Volunteer(visitor=uuid.uuid4()) for _ in range(N_VOLUNTEERS))
people = list(Volunteer.objects.order_by("id").values_list("id", flat=True))
truth = rng.integers(3, size=N_SUBJECTS)
skill = rng.uniform(0.5, 0.9, N_VOLUNTEERS)
now = timezone.now()


def votes():
    for number, subject in enumerate(subjects):
        for voter in rng.choice(N_VOLUNTEERS, VOTES_EACH, replace=False).tolist():
            answer = truth[number] if rng.random() < skill[voter] else rng.integers(3)
            yield Classification(
                workflow=workflow,
                workflow_version=workflow.current,
                subject_id=subject,
                volunteer_id=people[voter],
                client_id=uuid.uuid4(),
                annotations=[{"task": "T0", "value": int(answer)}],
                started_at=now,
                finished_at=now,
            )


Classification.objects.bulk_create(votes(), batch_size=5000)
GoldStandard.objects.bulk_create(
    GoldStandard(workflow=workflow, subject_id=subject, task="T0", value=int(truth[number]), source="simulated")
    for number, subject in enumerate(subjects[: N_SUBJECTS // 20])
)
print(json.dumps({"workflow": workflow.pk}))
