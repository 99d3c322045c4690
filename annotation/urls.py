"""Addresses of the annotators' pages and of their two endpoints."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from annotation import views
from annotation.api import pictures
from annotation.api.views import AnswerView, DraftView

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("studies/<uuid:uuid>/", views.study, name="study"),
    path("studies/<uuid:uuid>/answers/", views.study_review, name="study-review"),
    path("trials/<uuid:uuid>/", views.trial, name="trial"),
    path("trials/<uuid:uuid>/picture/", pictures.trial_picture, name="trial-picture"),
    path("trials/<uuid:uuid>/thumbnail/", pictures.trial_thumbnail, name="trial-thumbnail"),
    path("trials/<uuid:uuid>/map/<int:position>/", pictures.trial_map, name="trial-map"),
    path("api/trials/<uuid:uuid>/answer/", AnswerView.as_view(), name="api-answer"),
    path("api/trials/<uuid:uuid>/draft/", DraftView.as_view(), name="api-draft"),
]
