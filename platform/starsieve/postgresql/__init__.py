"""Django's PostgreSQL engine, but for how it finds out whether the server is still there."""
