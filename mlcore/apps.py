from django.apps import AppConfig
from django.db.models.signals import pre_save


class MlcoreConfig(AppConfig):
    name = "mlcore"
    verbose_name = "Images and classifiers"

    def ready(self) -> None:
        from mlcore.models.loading import keep_what_is_there

        pre_save.connect(keep_what_is_there, dispatch_uid="mlcore.models.loading.keep_what_is_there")
