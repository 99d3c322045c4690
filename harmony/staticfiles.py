"""Static files under hashed names, our ES modules' imports of each other included: a deployment is seen at once."""

from django.contrib.staticfiles.storage import ManifestFilesMixin
from whitenoise.storage import CompressedManifestStaticFilesStorage

OURS = ("js/*.js", "admin_harmony/*.js")
_, IMPORTS = ManifestFilesMixin._js_module_import_aggregation_patterns  # type: ignore[attr-defined]


class ModuleAwareStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Django's own patterns for module imports, for our folders only: libraries' comments look like imports too."""

    patterns = (*ManifestFilesMixin.patterns, *((folder, IMPORTS) for folder in OURS))
