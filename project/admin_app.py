"""Django's admin, as an app with a site of our own."""

from django.contrib.admin.apps import AdminConfig


class UsherAdminConfig(AdminConfig):
    """Lists, forms and pages of staff."""

    default_site = "project.site.UsherAdminSite"
