"""The machine's side: models, prefilter batches, shards, predictions, routing."""
