"""Addresses of the annotators' pages."""

urlpatterns: list = []
