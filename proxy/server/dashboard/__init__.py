"""The dashboard: a page of static files, and what it asks for beside the routes below ``/admin``."""
