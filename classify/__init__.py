"""The volunteer's side: classifications (the truth), progress, selection, feedback."""
