"""Addresses of the event monitor, below /admin/monitor/."""

from django.urls import path

from project.monitor import acts, pages

urlpatterns = [
    path("", pages.monitor, name="monitor"),
    path("parts/", pages.monitor_parts, name="monitor-parts"),
    path("receivers/<str:name>/", pages.receiver, name="monitor-receiver"),
    path("receivers/<str:name>/parts/", pages.receiver_parts, name="monitor-receiver-parts"),
    path("receivers/<str:name>/pause/", acts.pause, name="monitor-pause"),
    path("receivers/<str:name>/resume/", acts.resume, name="monitor-resume"),
    path("receivers/<str:name>/failures/", pages.failures, name="monitor-failures"),
    path("receivers/<str:name>/replay/", acts.begin_replay, name="monitor-begin-replay"),
    path("receivers/<str:name>/skip/", acts.begin_skip, name="monitor-begin-skip"),
    path("interventions/<int:pk>/", pages.intervention, name="monitor-intervention"),
    path(
        "interventions/<int:pk>/parts/", pages.intervention_parts, name="monitor-intervention-parts"
    ),
    path("interventions/<int:pk>/go-on/", acts.go_on, name="monitor-go-on"),
    path("interventions/<int:pk>/give-up/", acts.give_up, name="monitor-give-up"),
]
