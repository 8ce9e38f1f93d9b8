"""The torch core: encoder, heads, training, inference, calibration, lens simulator. Knows no Django."""
