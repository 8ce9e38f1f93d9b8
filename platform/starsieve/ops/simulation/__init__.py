"""Synthetic load with known truth: subjects, volunteers and classifications in bulk, and their removal."""
