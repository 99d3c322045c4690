from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Studies and answers"

    def ready(self) -> None:
        from annotation.people import ensure_groups
        from annotation.redaction import keep_tokens_out

        keep_tokens_out()
        post_migrate.connect(ensure_groups, sender=self, dispatch_uid="annotation.people.ensure_groups")
