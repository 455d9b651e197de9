import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tempo import optim, trees
from tempo.errors import InputError


def run(tx, params, grads_by_step):
    opt_state = tx.init(params)
    for grads in grads_by_step:
        updates, opt_state = tx.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
    return params


def random_steps(num_steps=3, scale=100.0):
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(size=(3, 4)), "bias": rng.normal(size=4)}
    grads = [{k: scale * rng.normal(size=v.shape) for k, v in params.items()}] * num_steps
    return jax.tree.map(jnp.float32, params), jax.tree.map(jnp.float32, grads)


def by_hand(params, grads_by_step, *, lr, momentum, weight_decay, clip):
    """PyTorch's SGD with Nesterov momentum after clip_grad_norm_, written out in numpy."""
    params = {k: np.asarray(v, np.float64) for k, v in params.items()}
    buffers = {k: np.zeros_like(v) for k, v in params.items()}
    for grads in grads_by_step:
        norm = np.sqrt(sum(np.sum(np.square(np.asarray(g, np.float64))) for g in grads.values()))
        for k in params:
            g = np.asarray(grads[k], np.float64) * min(1.0, clip / norm) + weight_decay * params[k]
            buffers[k] = momentum * buffers[k] + g
            params[k] = params[k] - lr * (g + momentum * buffers[k])
    return params


def test_sgd_clips_then_decays_then_takes_nesterov_momentum():
    params, grads = random_steps()
    tx = optim.create(lambda _: 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, clip_norm=40.0)
    expected = by_hand(params, grads, lr=0.1, momentum=0.9, weight_decay=5e-4, clip=40.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), run(tx, params, grads), expected
    )


@pytest.mark.parity
def test_sgd_equals_pytorch():
    torch = pytest.importorskip("torch")
    params, grads = random_steps()
    leaves = {k: torch.nn.Parameter(torch.tensor(np.asarray(v))) for k, v in params.items()}
    sgd = torch.optim.SGD(leaves.values(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for step in grads:
        for k, leaf in leaves.items():
            leaf.grad = torch.tensor(np.asarray(step[k]))
        torch.nn.utils.clip_grad_norm_(leaves.values(), 40.0)
        sgd.step()
    tx = optim.create(lambda _: 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, clip_norm=40.0)
    ours = run(tx, params, grads)
    for k, leaf in leaves.items():
        np.testing.assert_allclose(ours[k], leaf.detach().numpy(), rtol=1e-5)


def test_adamw_decays_apart_from_the_moments():
    params = {"kernel": jnp.ones(2)}
    tx = optim.create(lambda _: 0.1, name="adamw", weight_decay=0.5)
    ours = run(tx, params, [{"kernel": jnp.array([1.0, -1.0])}])
    # The first step of Adam is the sign of the gradient.
    np.testing.assert_allclose(ours["kernel"], [1 - 0.1 * 1.5, 1 - 0.1 * -0.5], rtol=1e-5)


def test_decay_pattern_and_multipliers_and_frozen_leaves():
    params = {n: {"kernel": jnp.ones(2), "bias": jnp.ones(2)} for n in ("body", "head", "stem")}
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = optim.create(
        lambda _: 1.0,
        momentum=0.0,
        weight_decay=0.1,
        decay_pattern="kernel$",
        lr_multipliers=(("^head", 2.0), ("head|body", 1.0)),
        frozen_pattern="^stem",
    )
    ours = run(tx, params, [zeros])
    np.testing.assert_allclose(ours["body"]["kernel"], 0.9)
    np.testing.assert_allclose(ours["head"]["kernel"], 0.8, rtol=1e-6)
    np.testing.assert_allclose(ours["stem"]["kernel"], 1.0)
    np.testing.assert_allclose(ours["body"]["bias"], 1.0)


def test_frozen_leaves_do_not_count_in_the_norm():
    params = {"stem": jnp.zeros(1), "head": jnp.zeros(1)}
    tx = optim.create(
        lambda _: 1.0, momentum=0.0, weight_decay=0.0, clip_norm=1.0, frozen_pattern="stem"
    )
    ours = run(tx, params, [{"stem": jnp.array([1000.0]), "head": jnp.array([0.5])}])
    np.testing.assert_allclose(ours["head"], [-0.5])


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_base_is_held_for_its_first_steps_as_if_the_run_began_after_them(name):
    params = {"backbone": {"kernel": jnp.full(2, 2.0)}, "head": {"kernel": jnp.ones(2)}}
    grads = [jax.tree.map(lambda p, g=g: jnp.full_like(p, g), params) for g in (30.0, 4.0, 0.5)]
    settings = {"name": name, "weight_decay": 0.1, "clip_norm": 50.0, "eps": 1e-2}
    held = optim.create(lambda _: 0.1, **settings, freeze_base_steps=2)
    twice = run(held, params, grads[:2])
    np.testing.assert_array_equal(twice["backbone"]["kernel"], 2.0)
    # The head's gradient alone is clipped meanwhile: 30 on two elements is below 50, on four above.
    alone = run(optim.create(lambda _: 0.1, **settings), {"head": params["head"]},
                [{"head": g["head"]} for g in grads[:2]])  # fmt: skip
    np.testing.assert_allclose(twice["head"]["kernel"], alone["head"]["kernel"], rtol=1e-6)
    ours = run(held, params, grads)["backbone"]["kernel"]
    assert (ours != 2.0).all()
    if name == "sgd":  # nothing has gathered in the momentum, of decay either
        fresh = run(optim.create(lambda _: 0.1, **settings), params, grads[2:])
        np.testing.assert_allclose(ours, fresh["backbone"]["kernel"], rtol=1e-6)


def test_step_schedule_of_kinetics():
    schedule = optim.make_schedule(
        1500, 10, 64, name="steps", base_lr=0.01, boundaries_epochs=(75, 125)
    )
    rates = [float(schedule(10 * epoch)) for epoch in (0, 74.9, 75, 124.9, 125, 149)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-6)


def test_step_schedule_of_tsn_is_told_in_steps():
    steps = {"name": "steps", "base_lr": 0.005, "boundaries_steps": (10_000, 16_000)}
    schedule = optim.make_schedule(18_000, 74, 128, **steps, warmup_steps=100)
    rates = [float(schedule(step)) for step in (50, 9_999, 10_000, 15_999, 16_000)]
    np.testing.assert_allclose(rates, [2.5e-3, 5e-3, 5e-4, 5e-4, 5e-5], rtol=1e-5)
    with pytest.raises(InputError, match=r"boundaries_steps=\(10000, 16000\) stands in place of"):
        optim.make_schedule(18_000, 74, 128, **steps, boundaries_epochs=(3,))
    # A run without steps is not too short for its warm-up.
    assert np.isfinite(optim.make_schedule(0, 74, 128, warmup_steps=100)(0))


def test_cosine_schedule_after_warmup_ends_at_its_floor():
    schedule = optim.make_schedule(
        100, 10, 64, name="cosine", base_lr=0.2, warmup_epochs=2.0, final_factor=0.01
    )
    rates = [float(schedule(step)) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(rates, [0.0, 0.1, 0.2, 0.2 * (0.01 + 0.99 / 2), 0.002], atol=1e-7)


def test_cosine_from_the_rate_to_nothing():
    schedule = optim.make_schedule(1000, 10, 64, name="cosine", base_lr=0.1)
    steps = np.array([0, 1, 250, 999, 1000])
    expected = 0.1 * 0.5 * (np.cos(np.pi * steps / 1000) + 1)
    np.testing.assert_allclose([float(schedule(s)) for s in steps], expected, rtol=1e-5, atol=1e-8)


def test_warmup_of_8000_steps_meets_the_cosine():
    schedule = optim.make_schedule(
        80_000, 900, 64, base_lr=0.1, warmup_steps=8000, warmup_factor=0.1
    )
    rates = [float(schedule(step)) for step in (0, 4000, 7999, 8000, 8001, 80_000)]
    np.testing.assert_allclose(rates, [0.01, 0.055, 0.1, 0.1, 0.1, 0.0], atol=2e-5)
    with pytest.raises(InputError, match="warmup_steps=8000, but the run has only 8000"):
        optim.make_schedule(8000, 900, 64, warmup_steps=8000)
    with pytest.raises(InputError, match="in place of warmup_epochs=2"):
        optim.make_schedule(8000, 900, 64, warmup_steps=10, warmup_epochs=2.0)


def test_linear_scaling_rule():
    schedule = optim.make_schedule(10, 1, 256, name="constant", base_lr=0.01, reference_batch=64)
    np.testing.assert_allclose(schedule(0), 0.04)


def test_warmup_longer_than_the_run():
    with pytest.raises(InputError, match=r"warmup_epochs=3.0 is 30 steps, but the run has only 20"):
        optim.make_schedule(20, 10, 8, warmup_epochs=3.0)


def test_bad_patterns_are_found_before_the_run():
    with pytest.raises(InputError, match="not a regular expression"):
        optim.check({"frozen_pattern": "("})
    with pytest.raises(InputError, match="freeze_base_steps must be a whole number.*got 0.5"):
        optim.check({"freeze_base_steps": 0.5})
    for part, word in (("head", "no"), ("backbone", "every")):
        with pytest.raises(InputError, match=f"base_pattern='.backbone/' matches {word} leaf"):
            optim.check_base({"freeze_base_steps": 1}, {part: {"kernel": 0}})
        optim.check_base({}, {part: {"kernel": 0}})
    with pytest.raises(InputError, match="lr_multipliers must be"):
        optim.check({"lr_multipliers": ("head", 2.0)})
    with pytest.raises(InputError, match="Unknown optimizer 'sdg'. Did you mean 'sgd'"):
        optim.check({"name": "sdg"})
    with pytest.raises(InputError, match="Unknown schedule 'cosin'. Did you mean 'cosine'"):
        optim.check_schedule({"name": "cosin"})
    with pytest.raises(InputError, match="Did you mean 'momentum'"):
        optim.check({"momentun": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({"name": "steps", "boundaries_steps": wrong}, "boundaries_steps must be whole numbers")
            for wrong in (5, ("a",), (-3,), (2.5,), (5, 2), (3, 3), (True,))
        ),
        ({"name": "steps", "boundaries_epochs": ("a",)}, r"must be numbers .* got \('a',\)"),
        ({"boundaries_steps": (1,)}, "the schedule 'steps', but the name is 'cosine'"),
        ({"warmup_steps": 2.5}, "warmup_steps must be a whole number, 0 or more; got 2.5"),
    ],
)
def test_schedules_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        optim.check_schedule(settings)


def test_steps_that_the_run_does_not_reach_are_refused():
    steps = {"name": "steps", "boundaries_steps": (3, 10)}
    optim.make_schedule(11, 5, 8, **steps)
    optim.make_schedule(0, 5, 8, **steps)  # of weights that are evaluated as they are
    with pytest.raises(InputError, match=r"boundaries_steps=\(3, 10\) goes past the run.*only 10"):
        optim.make_schedule(10, 5, 8, **steps)
    for total_steps in (0, 6):
        optim.check_length({"freeze_base_steps": 5}, total_steps)
    with pytest.raises(InputError, match="freeze_base_steps=5 holds the base in all 5 steps"):
        optim.check_length({"freeze_base_steps": 5}, 5)


@pytest.mark.parametrize(("name", "place"), [("sgd", "3/trace"), ("adamw", "2/mu")])
def test_momentum_stays_where_stored_states_have_it(name, place):
    """Runs of earlier versions go on with what they stored under these names."""
    state = optim.create(optax.constant_schedule(0.1), name=name, clip_norm=1.0).init(
        {"w": jnp.zeros(2)}
    )
    assert f"{place}/w" in trees.leaf_names(state)
