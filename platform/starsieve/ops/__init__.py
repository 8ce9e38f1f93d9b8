"""Running the house: demo, health, metrics, backup."""
