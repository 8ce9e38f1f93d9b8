"""What the demo's project pages say. Every page states what is real and what is simulated."""

from typing import TypedDict


class About(TypedDict):
    title: str
    slug: str
    summary: str
    description: str
    data_note: str


SKY_NOTE = (
    "The pixels are **real**: the Hubble Deep Field (NASA/ESA, 1996), an 8-bit colour picture that the scikit-image "
    "package carries. Galaxies were found on it by photutils and cut out by Starsieve's own stamp cutter; stamps are "
    "enlarged to 320 pixels. The picture has no world coordinates, so these subjects have no RA and Dec."
)
VOLUNTEERS_NOTE = (
    "\n\nThe first classifications were made by **simulated volunteers**, who err at known rates, so that the result "
    "pages have something to show. Yours are added to them."
)

GALAXY_ZOO: About = {
    "title": "Galaxy Zoo: Deep Field",
    "slug": "galaxy-zoo",
    "summary": "Smooth, spiral or something else? Sort the galaxies of the Hubble Deep Field by shape.",
    "description": (
        "Each galaxy's shape tells how it grew. You are asked a few short questions about one galaxy at a time; which "
        "ones depends on your answers. The questions are those of Galaxy Zoo DECaLS.\n\n"
        "There is no wrong answer where a galaxy is hard to tell: that volunteers differ is itself a measurement."
    ),
    "data_note": SKY_NOTE + VOLUNTEERS_NOTE,
}
LENS_GRADING: About = {
    "title": "Lens grading",
    "slug": "lens-grading",
    "summary": "Is it a gravitational lens? Grade each candidate A, B, C, I or X.",
    "description": (
        "A massive galaxy bends the light of another one far behind it into arcs and rings. Such lenses are rare; a "
        "network proposes candidates and people decide.\n\n"
        "Each candidate comes in several frames: normal colour, a deep stretch for faint arcs, and blue light with the "
        "red light of the deflecting galaxy taken off. Flip through all of them before you grade."
    ),
    "data_note": (
        SKY_NOTE
        + "\n\nThe lenses are **simulated**: light of a made-up background galaxy, bent by a singular isothermal "
        "ellipsoid, blurred and made noisy, was painted onto some of the real galaxies. Their truth is known, so they "
        "train the network and serve as gold standard. The network is an EfficientNet-B0 whose encoder was never "
        "trained and whose head learnt from these simulated lenses alone: good enough to show the prefilter at work, "
        "not for science." + VOLUNTEERS_NOTE
    ),
}
MODEL_NOTE = (
    "The demo's simulated lenses, painted onto real galaxies of the Hubble Deep Field, against others. "
    "Shows the prefilter at work; not for science."
)
CLUMP_SCOUT: About = {
    "title": "Clump Scout: Deep Field",
    "slug": "clump-scout",
    "summary": "Draw a box on each bright clump of star formation.",
    "description": (
        "Young galaxies are lumpy: giant clumps in which stars form many times faster than in the Milky Way. Where "
        "they sit and how many there are tells how discs settle. Draw a box around every clump; leave out the bright "
        "centre of the galaxy itself and whatever lies beside it."
    ),
    "data_note": SKY_NOTE + VOLUNTEERS_NOTE,
}
