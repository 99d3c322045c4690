"""What every page of the researchers' admin shares: who may see which rows, and how a page is rendered.

A researcher is a member of the staff in the group "researcher" and sees what they own; an administrator
(superuser) sees everything. Rows of the domain are never edited here: what changes them is an action of the domain.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from unfold.admin import ModelAdmin

RESEARCHERS = "researcher"


def is_researcher(user: Any) -> bool:
    """Whether this person may use the researchers' pages; asked of the database once a request."""
    if isinstance(user, AnonymousUser) or not (user.is_active and user.is_staff):
        return False
    if user.is_superuser:
        return True
    if not hasattr(user, "_harmony_researcher"):
        user._harmony_researcher = user.groups.filter(name=RESEARCHERS).exists()
    return user._harmony_researcher


def owned(queryset: QuerySet, user: Any, owner: str = "owner") -> QuerySet:
    """The rows of `queryset` that `user` may see; `owner` is the path to the owner's column."""
    if not is_researcher(user):
        return queryset.none()
    return queryset if user.is_superuser else queryset.filter(**{owner: user})


class DomainAdmin(ModelAdmin):
    """A list and pages of domain rows, read-only, each row seen by its owner and by administrators only."""

    owner_path = "owner"
    list_per_page = 50
    list_filter_sheet = True
    actions = None
    list_before_template = "admin/harmony/list_head.html"

    # What stands above the list: (label, name of the URL, icon); and what to say while it is empty.
    head_links: tuple[tuple[str, str, str], ...] = ()
    administrator_links: tuple[tuple[str, str, str], ...] = ()
    head_text: str = ""
    empty_text: str = "Nothing here yet."

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_researcher(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not is_researcher(request.user):
            return False
        return obj is None or self.get_queryset(request).filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return owned(super().get_queryset(request), request.user, self.owner_path)

    def seen(self, request: HttpRequest, pk: Any, queryset: QuerySet | None = None) -> Any:
        """The row, if this person may see it; otherwise the page does not exist for them."""
        if not is_researcher(request.user):
            raise PermissionDenied
        try:
            return (queryset if queryset is not None else self.get_queryset(request)).get(pk=pk)
        except (self.model.DoesNotExist, ValueError) as error:
            raise Http404("There is no such page, or it belongs to someone else.") from error

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """The page of one row; the plain read-only form unless a subclass has its own."""
        return super().change_view(request, str(obj.pk))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        return self.page(request, self.seen(request, object_id))

    def changelist_view(self, request: HttpRequest, extra_context: dict | None = None) -> TemplateResponse:
        links = self.head_links
        if request.user.is_superuser:  # type: ignore[union-attr]
            links += self.administrator_links
        return super().changelist_view(
            request,
            {
                "head_links": [(label, reverse(name), icon) for label, name, icon in links],
                "head_text": self.head_text,
                "empty_text": self.empty_text,
                **(extra_context or {}),
            },
        )

    def routes(self) -> Iterable[tuple[str, Callable[..., HttpResponse], str]]:
        """(address below the model's list, view, name): pages besides the list and the row."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        opts = self.model._meta
        own = [
            path(
                address,
                self.admin_site.admin_view(self._guarded(view)),
                name=f"{opts.app_label}_{opts.model_name}_{name}",
            )
            for address, view, name in self.routes()
        ]
        return own + super().get_urls()

    @staticmethod
    def _guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not is_researcher(request.user):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    def render(
        self,
        request: HttpRequest,
        template: str,
        *,
        obj: Any = None,
        title: str | Promise = "",
        status: int = 200,
        **context: Any,
    ) -> TemplateResponse:
        """A page in the admin's frame, with the breadcrumbs of this model."""
        request.current_app = self.admin_site.name  # type: ignore[attr-defined]
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "opts": self.model._meta,
                "object": obj,
                "title": title or str(obj),
                "page_title": title,  # the breadcrumbs end with the row; what the page is for stands below them
                **context,
            },
            status=status,
        )
