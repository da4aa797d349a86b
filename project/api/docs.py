"""The OpenAPI document and a page to try it, from files served here and nothing else."""

from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class SchemaView(SpectacularAPIView):
    """`/api/schema/`: JSON, or YAML where that is asked for."""

    authentication_classes = ()
    renderer_classes: list[type[BaseRenderer]] = [  # noqa: RUF012  as the library types it
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer2,
        OpenApiYamlRenderer,
    ]

    def _get_filename(self, request: Request, version: str | None) -> str:
        # The library puts in the `version` of the query: no header may hold what anyone sends.
        suffix = self.perform_content_negotiation(request, force=True)[0].format
        return f"usher-api.{suffix}"


class DocsView(SpectacularSwaggerSplitView):
    """`/api/docs/`: Swagger UI without inline script or style, as a strict CSP wants it."""

    authentication_classes = ()
    template_name = "project/api_docs.html"
    url_name = "api-schema"
