"""Addresses of the annotators' pages and of their endpoints."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from annotation.api import neighbours, pictures
from annotation.api.ahead import ahead
from annotation.api.views import AnswerView, DraftView
from annotation.pages import home, phases, preview, review, trial, ways_in

urlpatterns = [
    path("", home.home, name="home"),
    path("login/", home.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    # ways in
    path("join/<str:token>/", ways_in.invitation, name="join-invitation"),
    path("open/<str:key>/", ways_in.open_link, name="join-open"),
    path("prolific/<str:key>/", ways_in.prolific, name="join-prolific"),
    path("back/<str:token>/", ways_in.come_back, name="come-back"),
    # the way through a study
    path("studies/<uuid:uuid>/", phases.study, name="study"),
    path("studies/<uuid:uuid>/consent/", phases.consent, name="study-consent"),
    path("studies/<uuid:uuid>/introduction/", phases.introduction, name="study-introduction"),
    path("studies/<uuid:uuid>/again/", phases.again, name="study-again"),
    path("studies/<uuid:uuid>/questions/", phases.exit_questions, name="study-exit"),
    path("studies/<uuid:uuid>/end/", phases.end, name="study-end"),
    path("studies/<uuid:uuid>/stop/", phases.stop, name="study-stop"),
    path("studies/<uuid:uuid>/finish/", phases.finish, name="study-finish"),
    path("studies/<uuid:uuid>/preview/", preview.preview, name="study-preview"),
    path("studies/<uuid:uuid>/answers/", review.study_review, name="study-review"),
    path("studies/<uuid:uuid>/pictures/<slug:name>/", pictures.study_picture, name="study-picture"),
    # trials
    path("trials/<uuid:uuid>/", trial.trial, name="trial"),
    path("trials/<uuid:uuid>/back/", trial.back, name="trial-back"),
    path("trials/<uuid:uuid>/thumbnail/", pictures.trial_thumbnail, name="trial-thumbnail"),
    path("pictures/of/<uuid:uuid>/", pictures.trial_picture, name="trial-picture"),
    path("pictures/of/<uuid:uuid>/<int:index>/", neighbours.neighbour_picture, name="trial-neighbour"),
    path("pictures/<slug:name>/", pictures.stimulus_picture, name="stimulus-picture"),
    path("api/trials/<uuid:uuid>/answer/", AnswerView.as_view(), name="api-answer"),
    path("api/trials/<uuid:uuid>/draft/", DraftView.as_view(), name="api-draft"),
    path("api/trials/<uuid:uuid>/ahead/", ahead, name="api-ahead"),
]
