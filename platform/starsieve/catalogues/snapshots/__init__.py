"""A workflow's classifications in columns on disk, appended by watermark; derived from the database at any time."""
