"""People who may sign in, and their groups; in the admin's own style. Only administrators come here."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login")
    list_filter_sheet = True

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Someone who has taken part is made inactive here; deleting their answers returns their places in the
        studies, which is a step of its own (`annotation.people`)."""
        if obj is None or obj.participations.exists():
            return False
        return super().has_delete_permission(request, obj)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """A member of the staff in the group “researcher” sees the studies and runs that they own."""
