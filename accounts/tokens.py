"""knox's app of tokens, under a name that staff read in their language."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TokensConfig(AppConfig):
    """What programs log in with."""

    name = "knox"
    verbose_name = _("API tokens")
