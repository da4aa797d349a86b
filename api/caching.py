"""How answers may be kept on their way."""

from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control

# For views whose answers have a secret or a person in them: no proxy or browser keeps them.
no_store = method_decorator(cache_control(no_store=True), name="dispatch")
