"""Pages."""

from django.urls import path

from starsieve.catalogues import views

RESULTS = "projects/<slug:slug>/results/<int:workflow_id>/"
RELEASES = "projects/<slug:slug>/releases/<int:release_id>/"

urlpatterns = [
    path(RESULTS, views.results, name="results"),
    path(f"{RESULTS}plots/<str:name>.svg", views.plot, name="results_plot"),
    path(f"{RESULTS}consensus/", views.update_consensus, name="update_consensus"),
    path(f"{RESULTS}consensus/<int:run_id>/<str:name>.svg", views.consensus_plot, name="consensus_plot"),
    path(
        f"{RESULTS}consensus/<int:run_id>/subjects/<int:subject_id>/<str:task>.svg",
        views.subject_marks,
        name="subject_marks",
    ),
    path(f"{RESULTS}subjects/", views.subjects, name="results_subjects"),
    path(f"{RESULTS}subjects/<int:subject_id>/", views.subject_result, name="subject_result"),
    path(f"{RESULTS}subjects/<int:subject_id>/decision/", views.decide_subject, name="decide_subject"),
    path(f"{RESULTS}releases/", views.releases, name="releases"),
    path(f"{RELEASES}retry/", views.release_retry, name="release_retry"),
    path(f"{RELEASES}<str:name>", views.release_file, name="release_file"),
]
