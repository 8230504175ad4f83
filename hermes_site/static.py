"""Static files under names that carry a hash of their content: browsers may keep them and never show old ones."""

from __future__ import annotations

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class HashedStatics(ManifestStaticFilesStorage):
    """Before `collectstatic` has run, as in tests, files go by their plain names."""

    support_js_module_import_aggregation = True

    def stored_name(self, name: str) -> str:
        cleaned = self.clean_name(name)
        return str(self.hashed_files.get(self.hash_key(cleaned), cleaned))
