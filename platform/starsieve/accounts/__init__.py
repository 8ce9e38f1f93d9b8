"""People: users, API tokens, preferences, privacy."""
