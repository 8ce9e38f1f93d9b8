"""Static files under hashed names, ES-module imports included, so that browsers may keep them for ever."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Whitenoise's storage that also rewrites `import … from "./x.js"` to the hashed name."""

    support_js_module_import_aggregation = True
