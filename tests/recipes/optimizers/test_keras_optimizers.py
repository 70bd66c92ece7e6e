"""Keras's optimizers against their formulas in NumPy, in float64.

Each runs for 20 steps and follows the formula; a common wrong form of it ends
elsewhere. `docs/optimizers.md` explains both.
"""

import keras
import numpy as np
import pytest
from contract import numpy

STEPS = 20
START = np.array([1.5, -2.0, 0.7])
SCALES = np.array([1.0, 3.0, 0.4])


def gradient(w):
    """Of Σ s·w²/2 - cos(w)/2: one minimum, at 0, and not the same slope everywhere."""
    return SCALES * w + np.sin(w) / 2


def keras_path(optimizer, gradient=gradient, steps=STEPS):
    """The points that a Keras optimizer comes to, `(steps, 3)`."""
    variable = keras.Variable(START, dtype="float32")
    path = []
    for _ in range(steps):
        g = gradient(numpy(variable).astype("float64"))
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32")], [variable])
        path.append(numpy(variable).astype("float64"))
    return np.array(path)


def path(step, *state):
    """The points that a formula comes to; `step` maps `(t, w, *state)` to the next."""
    w, points = START, []
    for t in range(STEPS):
        w, *state = step(t, w, *state)
        points.append(w)
    return np.array(points)


def check(found, right, wrong):
    """Keras's path is the right one at every step, and not the wrong one."""
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-5)
    with np.errstate(all="ignore"):
        assert not np.abs(found - wrong).max() < 0.01  # NaN is no match either


RATE, RHO, EPSILON = 0.1, 0.9, 1e-7


def test_sgd():
    found = keras_path(keras.optimizers.SGD(RATE))
    right = path(lambda t, w: [w - RATE * gradient(w)])
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-5)


class TestMomentum:
    def right(self, t, w, v, rate=RATE):
        v = RHO * v + gradient(w)
        return w - rate * v, v

    def wrong(self, t, w, v):
        """The weights first, by the old velocity."""
        return w - RATE * v, RHO * v + gradient(w)

    def test_is_the_formula_and_not_one_step_late(self):
        found = keras_path(keras.optimizers.SGD(RATE, momentum=RHO))
        check(found, path(self.right, 0 * START), path(self.wrong, 0 * START))
        # The first step of the wrong form goes nowhere.
        assert (path(self.wrong, 0 * START)[0] == START).all()

    def test_keras_keeps_the_rate_within_the_velocity(self):
        def rate(t):
            return RATE if t <= 4 else RATE / 10

        def folded(t, w, m):
            m = RHO * m - rate(t) * gradient(w)
            return w + m, m

        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            [4], [RATE, RATE / 10]
        )
        found = keras_path(keras.optimizers.SGD(schedule, momentum=RHO))
        unfolded = path(lambda t, w, v: self.right(t, w, v, rate(t)), 0 * START)
        check(found, path(folded, 0 * START), unfolded)


class TestNesterov:
    def look_ahead(self, sign):
        """Points of w, and the points at which the gradient is taken."""
        w, v, points, places = START, 0 * START, [], []
        for _ in range(STEPS + 1):
            place = w + sign(v)
            v = RHO * v + gradient(place)
            w = w - RATE * v
            points.append(w)
            places.append(place)
        return np.array(points), np.array(places)

    def test_keras_holds_the_point_ahead(self):
        points, places = self.look_ahead(lambda v: -RATE * RHO * v)
        found = keras_path(keras.optimizers.SGD(RATE, momentum=RHO, nesterov=True))
        # What Keras calls the weights are the places, one step on: w - ηρv.
        check(found, places[1:], points[:-1])

    def test_the_other_sign_diverges(self):
        points, _ = self.look_ahead(lambda v: -RATE * RHO * v)
        wrong, _ = self.look_ahead(lambda v: RHO * v)
        assert np.abs(points[-1]).max() < 0.6
        assert np.abs(wrong[-1]).max() > 1e6
        # Nor is it the step without η alone.
        flipped, _ = self.look_ahead(lambda v: RATE * RHO * v)
        assert np.abs(flipped[-1]).max() > 3 * np.abs(points[-1]).max()


class TestAdaGrad:
    def right(self, t, w, total):
        g = gradient(w)
        total = total + g**2
        return w - RATE * g / np.sqrt(total + EPSILON), total

    def wrong(self, t, w, total):
        """The step first, by the old sum, which begins as 0."""
        w = w - RATE * gradient(w) / (np.sqrt(total) + EPSILON)
        return w, total + gradient(w) ** 2

    def test_accumulates_before_it_steps(self):
        optimizer = keras.optimizers.Adagrad(
            RATE, initial_accumulator_value=0.0, epsilon=EPSILON
        )
        wrong = path(self.wrong, 0 * START)
        check(keras_path(optimizer), path(self.right, 0 * START), wrong)
        # The first step of the wrong form is ηg/ε.
        first = RATE * gradient(START) / EPSILON
        np.testing.assert_allclose(START - wrong[0], first, rtol=1e-6)

    def test_keras_starts_its_sum_at_a_tenth(self):
        found = keras_path(keras.optimizers.Adagrad(RATE))
        check(found, path(self.right, 0 * START + 0.1), path(self.right, 0 * START))


class TestRMSProp:
    def step(self, d, w, mean, rate=RATE):
        g = gradient(w)
        mean = d * mean + (1 - d) * g**2
        return w - rate * g / np.sqrt(mean + EPSILON), mean

    def wrong(self, t, w, total):
        """A sum that decays, without the factor 1-d, and stepping first."""
        w = w - RATE * gradient(w) / (np.sqrt(total) + EPSILON)
        return w, RHO * total + gradient(w) ** 2

    def wrong_sum_only(self, t, w, total):
        g = gradient(w)
        total = RHO * total + g**2
        return w - RATE * g / np.sqrt(total + EPSILON), total

    @pytest.mark.parametrize("wrong", ["wrong", "wrong_sum_only"])
    def test_is_a_mean(self, wrong):
        found = keras_path(keras.optimizers.RMSprop(RATE, rho=RHO, epsilon=EPSILON))
        right = path(lambda t, w, mean: self.step(RHO, w, mean), 0 * START)
        check(found, right, path(getattr(self, wrong), 0 * START))

    def test_without_memory_it_is_the_sign_and_not_sgd(self):
        found = keras_path(keras.optimizers.RMSprop(RATE, rho=0.0))
        signs = path(lambda t, w: [w - RATE * np.sign(gradient(w))])
        sgd = path(lambda t, w: [w - RATE * gradient(w)])
        np.testing.assert_allclose(found[:5], signs[:5], atol=1e-4)
        assert np.abs(found[:5] - sgd[:5]).max() > 0.1

    def test_with_all_memory_its_mean_never_moves_and_it_is_not_adagrad(self):
        optimizer = keras.optimizers.RMSprop(1e-6, rho=1.0)
        found = keras_path(optimizer)
        frozen = path(lambda t, w: [w - 1e-6 * gradient(w) / np.sqrt(EPSILON)])
        adagrad = path(lambda t, w, total: TestAdaGrad().right(t, w, total), 0 * START)
        check(found, frozen, adagrad)

    def test_a_smaller_mean_makes_larger_steps(self):
        moves = [
            np.abs(self.step(RHO, START, 0 * START + mean)[0] - START)
            for mean in (100.0, 10.0, 1.0)
        ]
        assert (np.diff(moves, axis=0) > 0).all()


class TestAdam:
    D = 0.999

    def step(self, t, w, v, mean, power=1):
        g = gradient(w)
        v = RHO * v + (1 - RHO) * g
        mean = self.D * mean + (1 - self.D) * g**2
        with np.errstate(all="ignore"):
            v_hat = v / (1 - RHO ** (t + power))
            mean_hat = mean / (1 - self.D ** (t + power))
            return w - RATE * v_hat / (np.sqrt(mean_hat) + EPSILON), v, mean

    def wrong(self, t, w, v, mean):
        """Moments after the step, corrected by powers of t: 0/0 at the first."""
        g = gradient(w)
        with np.errstate(all="ignore"):
            v_hat, mean_hat = v / (1 - RHO**t), mean / (1 - self.D**t)
            w = w - RATE * v_hat / (np.sqrt(mean_hat) + EPSILON)
        mean = self.D * mean + (1 - self.D) * gradient(w) ** 2
        return w, RHO * v + (1 - RHO) * g, mean

    def test_corrects_from_the_first_step(self):
        right = path(self.step, 0 * START, 0 * START)
        optimizer = keras.optimizers.Adam(RATE, RHO, self.D, epsilon=EPSILON)
        wrong = path(self.wrong, 0 * START, 0 * START)
        check(keras_path(optimizer), right, wrong)
        assert np.isnan(wrong[0]).all()
        # The first step is η in the direction of the sign.
        np.testing.assert_allclose(START - right[0], RATE * np.sign(START), rtol=1e-5)

    def test_another_wrong_form_new_moments_corrected_by_t(self):
        wrong = path(lambda *state: self.step(*state, power=0), 0 * START, 0 * START)
        assert not np.isfinite(wrong).any()

    def test_both_moments_come_from_the_same_gradient(self):
        def mixed(t, w, v, mean, last):
            """The first moment is one gradient behind the second."""
            g = gradient(w)
            v = RHO * v + (1 - RHO) * last
            mean = self.D * mean + (1 - self.D) * g**2
            v_hat, mean_hat = v / (1 - RHO ** (t + 1)), mean / (1 - self.D ** (t + 1))
            return w - RATE * v_hat / (np.sqrt(mean_hat) + EPSILON), v, mean, g

        optimizer = keras.optimizers.Adam(RATE, RHO, self.D, epsilon=EPSILON)
        right = path(self.step, 0 * START, 0 * START)
        wrong = path(mixed, 0 * START, 0 * START, 0 * START)
        check(keras_path(optimizer), right, wrong)


class TestDecay:
    """λ·½Σw² in the loss is weight decay for SGD, and is not for Adam."""

    DECAY = 0.2

    def penalised(self, w):
        return gradient(w) + self.DECAY * w

    def test_l2_takes_half_the_factor(self):
        penalty = keras.regularizers.L2(self.DECAY / 2)
        value = float(numpy(penalty(keras.ops.convert_to_tensor(START, "float32"))))
        assert value == pytest.approx(self.DECAY * np.sum(START**2) / 2, rel=1e-6)
        whole = keras.regularizers.L2(self.DECAY)
        twice = float(numpy(whole(keras.ops.convert_to_tensor(START, "float32"))))
        assert twice == pytest.approx(2 * value, rel=1e-6)

    def test_the_same_under_sgd(self):
        penalty = keras_path(keras.optimizers.SGD(RATE), self.penalised)
        decay = keras_path(keras.optimizers.SGD(RATE, weight_decay=self.DECAY))
        right = path(lambda t, w: [w - RATE * gradient(w) - RATE * self.DECAY * w])
        np.testing.assert_allclose(penalty, right, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(decay, right, rtol=2e-5, atol=2e-5)

    def test_not_the_same_with_momentum(self):
        penalty = keras_path(keras.optimizers.SGD(RATE, momentum=RHO), self.penalised)
        optimizer = keras.optimizers.SGD(RATE, momentum=RHO, weight_decay=self.DECAY)
        assert np.abs(penalty - keras_path(optimizer)).max() > 0.05

    def test_not_the_same_under_adam(self):
        adam = TestAdam()

        def decoupled(t, w, v, mean):
            moved, v, mean = adam.step(t, w, v, mean)
            return moved - RATE * self.DECAY * w, v, mean

        arguments = {"epsilon": EPSILON, "weight_decay": self.DECAY}
        decay = keras_path(keras.optimizers.AdamW(RATE, **arguments))
        penalty = keras_path(keras.optimizers.Adam(RATE), self.penalised)
        check(decay, path(decoupled, 0 * START, 0 * START), penalty)
