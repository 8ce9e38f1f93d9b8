"""Where uploaded pixels live: a folder by default, an object store when STORAGE_URL says so."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ImproperlyConfigured


def storage_from_url(url: str) -> dict[str, Any]:
    """Django STORAGES entry for `s3://bucket/prefix?endpoint=https://…&region=…`; credentials are the environment's.

    Raises ImproperlyConfigured for any other scheme or a missing bucket.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ImproperlyConfigured(f"STORAGE_URL={url!r}: expected s3://bucket[/prefix][?endpoint=…&region=…]")
    query = parse_qs(parts.query)
    options: dict[str, Any] = {
        "bucket_name": parts.netloc,
        "location": parts.path.strip("/"),
        "querystring_auth": False,
        "default_acl": None,
        "file_overwrite": False,
    }
    if "endpoint" in query:
        options["endpoint_url"] = query["endpoint"][0]
    if "region" in query:
        options["region_name"] = query["region"][0]
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
