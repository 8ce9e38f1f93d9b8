"""Consensus over a decision tree: what applies, and what is true where it applies."""

import numpy as np
import pytest

from aggregation import aggregate_tasks, pooled_dawid_skene, pooled_tree

# smooth -> round?, featured -> edge-on?, artifact -> end; edge-on no -> bulge?
NEXT = [[1, 2, -1], [-1, -1, -1], [-1, 3], [-1, -1, -1]]
PRIORS = [[0.5, 0.4, 0.1], [0.3, 0.4, 0.3], [0.3, 0.7], [0.5, 0.3, 0.2]]


def true_path(rng):
    path, task = np.full(len(NEXT), -1), 0
    while task >= 0:
        path[task] = rng.choice(len(PRIORS[task]), p=PRIORS[task])
        task = NEXT[task][path[task]]
    return path


@pytest.fixture(scope="module")
def galaxies():
    """Volunteers walk down the tree; where they strayed off the true path they mostly give answer 1."""
    rng = np.random.default_rng(1)
    truth = np.array([true_path(rng) for _ in range(400)])
    skill = rng.beta(5, 2, 60)
    votes = []
    for subject in range(400):
        for volunteer in rng.choice(60, 10, replace=False):
            task = 0
            while task >= 0:
                n_answers, true = len(PRIORS[task]), truth[subject, task]
                answer = true if true >= 0 and rng.random() < skill[volunteer] else int(rng.integers(n_answers))
                if true < 0 and rng.random() < 0.7:
                    answer = 1
                votes.append((subject, volunteer, task, answer))
                task = NEXT[task][answer]
    return np.array(votes).T, truth


def test_a_question_is_known_to_apply_or_not(galaxies):
    votes, truth = galaxies
    result = pooled_tree(*votes, NEXT)
    applies = truth >= 0
    asked = result.n_votes / 10
    assert ((result.reach - applies) ** 2).mean() < 0.2 * ((asked - applies) ** 2).mean()
    np.testing.assert_array_equal(result.reach[:, 0], 1.0)


def test_answers_are_right_where_the_question_applies_and_stray_votes_do_no_harm(galaxies):
    votes, truth = galaxies
    result = pooled_tree(*votes, NEXT)
    for task in range(4):
        applies = truth[:, task] >= 0
        np.testing.assert_allclose(result.posterior[task].sum(axis=1), 1.0)
        assert (result.posterior[task].argmax(axis=1) == truth[:, task])[applies].mean() > 0.98
    bulge = votes[2] == 3
    applies = np.flatnonzero(truth[:, 3] >= 0)
    alone = pooled_dawid_skene(votes[0][bulge], votes[1][bulge], votes[3][bulge], 3, n_subjects=400)
    loss = [-np.log(p[applies, truth[applies, 3]]).mean() for p in (result.posterior[3], alone.posterior)]
    assert loss[0] < loss[1]


def test_a_tree_of_one_question_is_the_pooled_model(crowd):
    alone = pooled_dawid_skene(crowd.subject, crowd.volunteer, crowd.answer)
    tree = pooled_tree(crowd.subject, crowd.volunteer, np.zeros_like(crowd.subject), crowd.answer, [[-1, -1, -1]])
    np.testing.assert_allclose(tree.posterior[0], alone.posterior)
    np.testing.assert_allclose(tree.confusion[0], alone.confusion)
    assert tree.log_likelihood == pytest.approx(alone.log_likelihood)


def slow_posterior(priors, evidence, off_path):
    """Sum over every path by name: the exact answer that messages along the tree must give."""
    joint = {}

    def walk(task, path, weight):
        if task < 0:
            visited = dict(path)
            for other in range(len(NEXT)):
                if other not in visited:
                    weight *= off_path[other]
            joint[path] = weight
            return
        for answer, target in enumerate(NEXT[task]):
            walk(target, (*path, (task, answer)), weight * priors[task][answer] * evidence[task][answer])

    walk(0, (), 1.0)
    total = sum(joint.values())
    reach = [sum(w for path, w in joint.items() if task in dict(path)) / total for task in range(len(NEXT))]
    return reach, [
        [sum(w for path, w in joint.items() if dict(path).get(task) == k) / total for k in range(len(NEXT[task]))]
        for task in range(len(NEXT))
    ]


def test_messages_along_the_tree_equal_the_sum_over_all_paths():
    from aggregation._pooled_em import Parameters, Tree, believe
    from aggregation._question import Evidence, Question, Skills
    from aggregation._votes import check_votes

    rng = np.random.default_rng(5)
    evidence = [rng.random(len(targets)) + 0.05 for targets in NEXT]
    off_path = [1.0, *rng.random(3)]
    questions = [Question.of(check_votes([], [], [], len(t), n_subjects=1, n_volunteers=0)) for t in NEXT]
    nothing = [None] * 4
    tree = Tree(questions, NEXT, [0, 2, 3, 1], np.full((1, 4), -1), nothing, nothing)
    skills = Skills(np.empty(0), np.empty(0), np.empty(0), 4.0)
    parameters = [Parameters(skills, np.array(p), 0.1, np.array(p), None) for p in PRIORS]
    given = [Evidence(e[np.newaxis], np.zeros(1), np.ones((1, len(e)))) for e in evidence]
    beliefs = believe(tree, parameters, given, [np.log([off]) for off in off_path])
    reach, joint = slow_posterior(PRIORS, evidence, off_path)
    np.testing.assert_allclose(beliefs.reach[0], reach)
    for task in range(4):
        np.testing.assert_allclose(beliefs.answer[task][0] * reach[task], joint[task])


def test_gold_on_a_question_is_kept_and_moves_what_follows(galaxies):
    votes, truth = galaxies
    featured = int(np.flatnonzero(truth[:, 0] == 1)[0])
    gold = np.full((400, 4), -1)
    gold[featured, 0] = 0
    result = pooled_tree(*votes, NEXT, gold)
    assert result.posterior[0][featured].tolist() == [1.0, 0.0, 0.0]
    assert result.reach[featured, 1] == pytest.approx(1.0)
    assert result.reach[featured, 2] == pytest.approx(0.0)
    assert result.held_out[0][featured].argmax() == 1


def test_numbering_and_the_order_of_rows_change_nothing(galaxies):
    votes, _ = galaxies
    rng = np.random.default_rng(3)
    order, subjects, volunteers = rng.permutation(votes.shape[1]), rng.permutation(400), rng.permutation(60)
    first = pooled_tree(*votes, NEXT)
    moved = votes[:, order]
    second = pooled_tree(subjects[moved[0]], volunteers[moved[1]], moved[2], moved[3], NEXT)
    np.testing.assert_allclose(second.reach[subjects], first.reach, atol=1e-9)
    for task in range(4):
        np.testing.assert_allclose(second.posterior[task][subjects], first.posterior[task], atol=1e-9)


def test_tasks_of_a_workflow_can_be_given_with_their_tree(galaxies):
    votes, _ = galaxies
    tree, result = pooled_tree(*votes, NEXT), aggregate_tasks(*votes, next_task=NEXT)
    row = int(np.flatnonzero((result.subject == 7) & (result.task == 0))[0])
    np.testing.assert_allclose(result.posterior[row], tree.posterior[0][7])
    assert result.reach.min() >= 0
    assert result.answer[row] == tree.posterior[0][7].argmax()
    with pytest.raises(ValueError, match="takes tasks one by one"):
        aggregate_tasks(*votes, next_task=NEXT, method="majority")


def test_no_votes_at_all():
    result = pooled_tree([], [], [], [], NEXT, n_subjects=2)
    assert result.reach.shape == (2, 4)
    assert [each.shape for each in result.posterior] == [(2, 3), (2, 3), (2, 2), (2, 3)]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0], [0], [0], [0], [[1, -1], [0, -1]]), {}, "cycle"),
        (([0], [0], [0], [0], [[5, -1]]), {}, r"task 0 leads to \[5, -1\]"),
        (([0], [0], [0], [0], [[-1, -1], [-1, -1]]), {}, "task 1 cannot be reached"),
        (([0], [0], [0], [2], [[-1, -1]]), {}, "answer to task 0"),
        (([0], [0], [0], [0], [[-1, -1]]), {"first": 3}, "the first task is 3"),
        (([0], [0], [0], [0], [[-1, -1]], [[4]]), {}, r"gold\[0, 0\] is 4"),
        (([0], [0], [0], [0], [[-1, -1]], [0]), {}, r"gold must be integers of shape .*\(1, 1\)"),
    ],
)
def test_trees_and_codes_that_make_no_sense_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        pooled_tree(*arguments, **options)
