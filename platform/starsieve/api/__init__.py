"""What every JSON endpoint shares: problem answers, pagination, throttling, schema. Knows no room."""
