"""The demo: three projects on real galaxies of the Hubble Deep Field, with simulated lenses painted onto some."""
