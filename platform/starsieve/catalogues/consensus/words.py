"""What the models are and found, in sentences for people who never heard of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: From here on a prior weighs so much that no volunteer's record departs from it.
BOUNDLESS = 1000


@dataclass(frozen=True)
class MethodWords:
    """`number` is what the method's p are called beside vote fractions."""

    title: str
    sentence: str
    number: str = "probability"


METHOD_WORDS: Mapping[str, MethodWords] = {
    "pooled": MethodWords(
        "Pooled model of volunteers",
        "How each volunteer tends to answer is learnt from all their votes, and every vote is weighed by it; whoever "
        "has given few votes counts as an average volunteer.",
    ),
    "dawid-skene": MethodWords(
        "Dawid and Skene 1979",
        "How often each volunteer takes which answer for which is learnt from all their votes, and every vote is "
        "weighed by it.",
    ),
    "one-coin": MethodWords(
        "One skill per volunteer",
        "How often each volunteer is right is learnt from all their votes, and every vote is weighed by it.",
    ),
    "weighted": MethodWords(
        "Galaxy Zoo 2 weighting",
        "Volunteers who seldom agree with the others count for less (Willett et al. 2013); the numbers are vote "
        "fractions with these weights.",
        "weighted votes",
    ),
    "ordinal": MethodWords(
        "Ordinal model of graders",
        "Grades lie on one scale from X to A. How sharply and how generously each grader grades is learnt from all "
        "their grades, and every grade is read accordingly; I stands beside the scale. A subject's rank is its place "
        "on the scale, about 0 for X and 3 for A.",
    ),
    "skills": MethodWords(
        "Model of marks",
        "How often each volunteer misses what is there, marks what is not, and how precisely they draw is learnt from "
        "all their boxes; each box of the consensus gets the probability that something is there.",
    ),
}


def percent(share: float) -> str:
    """A share in whole percent that is never rounded to certainty."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{share:.0%}"


def notes_of(fit: Mapping[str, Any]) -> list[str]:
    """One sentence for each thing that the fit found out."""
    notes = []
    if fit.get("reach", 1) < 1:
        notes.append(f"By the model, the question applies to {percent(fit['reach'])} of the subjects.")
    if "correlation" in fit:
        notes.append(_correlation(fit["correlation"]))
    if "muddled" in fit:
        notes.append(f"About {percent(fit['muddled'])} of the subjects show so little that votes on them are guesses.")
    if "strength" in fit:
        notes.append(
            f"From about {fit['strength']:,.0f} answers of a kind on, a volunteer is judged by them more than by what "
            "the crowd does."
        )
    if "row_strength" in fit:
        notes.append(_scale(fit["row_strength"]))
    if "n_adjudicate" in fit:
        notes.append(_adjudicate(fit["n_adjudicate"]))
    if "n_clumps" in fit:
        notes += _marks(fit)
    if "calibration" in fit:
        notes.append(_calibration(fit["calibration"]))
    if "converged" in fit:
        notes.append(_convergence(fit["converged"], fit["n_iterations"]))
    return notes


def _correlation(rho: float) -> str:
    worth = 10 / (1 + 9 * rho)
    return (
        f"Votes on one subject resemble each other, with a correlation of {rho:.2f}: ten of them say as much as "
        f"{worth:.1f} independent ones."
    )


def _scale(strength: float) -> str:
    if strength >= BOUNDLESS:
        return "Graders differ in sharpness and generosity only: no habits were found that the scale does not explain."
    return (
        f"Graders have habits that the scale does not explain; from about {strength:,.0f} grades of a kind on, these "
        "count for more than the scale."
    )


def _adjudicate(n: int) -> str:
    if not n:
        return "On no subject are graders more divided than chance explains."
    subjects = "1 subject" if n == 1 else f"{n:,} subjects"
    return f"On {subjects} graders are so divided that experts should talk."


def _calibration(calibration: Mapping[str, Any]) -> str:
    gold = f"The gold standard of {calibration['n_gold']:,} subjects"
    if calibration["kind"] == "identity":
        return f"{gold} gave no reason to correct the probabilities."
    return f"{gold} has corrected the probabilities."


def _marks(fit: Mapping[str, Any]) -> list[str]:
    notes = [f"{fit['n_settled']:,} of {fit['n_subjects']:,} subjects need no more volunteers."]
    if "p_fn" in fit:
        notes.append(
            f"The typical volunteer misses {percent(fit['p_fn'])} of what is there, and {percent(fit['p_fp'])} of the "
            f"marks mean nothing; a mark lies {fit['sigma']:.1f} pixels off."
        )
    if fit["n_spammers"]:
        n = fit["n_spammers"]
        notes.append(f"The marks of {n:,} volunteer{'' if n == 1 else 's'} mean so little that they hardly count.")
    return notes


def _convergence(converged: bool, n: int) -> str:
    steps = "1 step" if n == 1 else f"{n:,} steps"
    if converged:
        return f"The fit settled after {steps}."
    return f"The fit had not settled after {steps}: take its numbers with care."


_MEANINGS = {
    "accuracy": "share whose most probable answer is right",
    "balanced accuracy": "the same with every answer counting alike",
    "log loss": "surprise at the truth; 0 is perfect",
    "Brier score": "squared error of the probabilities; 0 is perfect",
    "Brier": "squared error of the probabilities; 0 is perfect",
    "completeness": "share of the true boxes that was found",
    "purity": "share of the boxes found that are true",
    "calibration error (ECE-15)": "mean gap between promise and outcome, in 15 bins; the plot has fewer",
}


def meaning_of(figure: str, rate: float) -> str:
    """What a figure of a judgement says, in a few words."""
    if figure.startswith("AUC of "):
        return "chance that one of these is ranked above one of the others"
    if figure.startswith("completeness of "):
        return f"share of these found while at most {rate:g} of the others pass"
    return _MEANINGS.get(figure, "")
