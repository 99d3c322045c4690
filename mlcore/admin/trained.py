"""What the pages of trained modules, which belong to a classifier without being one, have in common."""

from typing import ClassVar

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.text import slugify

from harmony.researcher import DomainAdmin


class TrainedAdmin(DomainAdmin):
    """objective: what a run trains one with. what: what one is called."""

    objective: ClassVar[str]
    what: ClassVar[str]

    def routes(self):
        return (
            ("train/", self.start_redirect, "start"),
            ("<int:pk>/file/", self.download, "file"),
        )

    def start_redirect(self, request: HttpRequest) -> HttpResponse:
        return redirect(f"{reverse('admin:mlcore_run_start')}?kind=train&objective={self.objective}")

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The safetensors file, which says itself what it fits."""
        made = self.seen(request, pk)
        try:
            stream = made.weights.open("rb")
        except OSError as error:
            raise Http404(f"The file of this {self.what} is not in the storage any more.") from error
        name = f"{slugify(made.name) or self.what.split()[0]}.safetensors"
        return FileResponse(stream, as_attachment=True, filename=name, content_type="application/octet-stream")
