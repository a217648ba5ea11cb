"""The description of all endpoints that programs can read: OpenAPI 3.1, made of the routes and of their structs.

`operations`, `remembered`, `administration` and `dashboard` have one entry a route, `statuses` says which statuses it
can answer with, `shapes` has what answers look like that are put together by hand, and `document` makes all that one.
"""

from proxy.server.openapi.document import OPENAPI, Description, openapi

__all__ = ["OPENAPI", "Description", "openapi"]
