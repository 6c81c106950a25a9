"""A run is one TOML file; what it cannot mean is refused by name."""

import pytest

from sam.training.recipe import SHIPPED, Draw, LoRA, Recipe, Stage, Unfreeze

ONE_STAGE = "[[stages]]\nsteps = 10\n"


@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.toml")))
def test_shipped_recipes_can_be_read(name):
    assert Recipe.read(name).steps > 0


def test_a_file_says_what_the_dataclasses_say(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'frozen = ["image_encoder"]\nlearning_rate = 2e-3\n[lora]\nrank = 4\nparts = ["image_encoder"]\n'
        '[[unfreeze]]\nstep = 5\nparts = ["mask_decoder"]\n'
        "[[stages]]\nsteps = 10\ndraws = [{ size = 512, masks = 3 }]\n"
    )
    assert Recipe.read(file) == Recipe(
        stages=(Stage(10, (Draw(size=512, masks=3),)),),
        learning_rate=2e-3,
        frozen=("image_encoder",),
        lora=LoRA(rank=4, parts=("image_encoder",)),
        unfreeze=(Unfreeze(5, ("mask_decoder",)),),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("learning_rat = 1\n" + ONE_STAGE, "learning_rat"),
        (ONE_STAGE + "draws = [{ sizes = 64 }]", "sizes"),
        (ONE_STAGE + "draws = [{ size = 100 }]", "size 100"),
        (ONE_STAGE + "draws = [{ cells_per_block = 5 }]", "cells_per_block 5"),
        ("[[stages]]\nsteps = 0\n", "got 0"),
        ("cached_views = 2\n" + ONE_STAGE, "image_encoder"),
        ('lora = { parts = ["mask_decoder"] }\n' + ONE_STAGE, "mask_decoder"),
        ("stages = []", "stages"),
        ("steps == 3", "mine.toml"),
    ],
)
def test_what_a_recipe_cannot_mean_is_named(tmp_path, text, named):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=named) as refusal:
        Recipe.read(file)
    assert "mine.toml" in str(refusal.value)


def test_an_unknown_recipe_lists_the_shipped_ones():
    with pytest.raises(ValueError, match=r"'nothing'.*decoder.*tiny"):
        Recipe.read("nothing")


def test_the_rate_rises_then_falls_straight_to_the_end():
    recipe = Recipe(stages=(Stage(100),), learning_rate=1.0, final_learning_rate=0.0, warmup_steps=10)
    rates = [recipe.learning_rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[50] == pytest.approx(0.5) and rates[-1] == pytest.approx(0.01)


def test_stages_follow_each_other_and_scale_together():
    recipe = Recipe(stages=(Stage(10), Stage(20)), unfreeze=(Unfreeze(20, ("mask_decoder",)),), warmup_steps=4)
    assert [recipe.stages.index(recipe.stage_at(step)) for step in (0, 9)] == [0, 0]
    assert recipe.stage_at(10).steps == 20
    short = recipe.scaled(0.1)
    assert (short.steps, short.unfreeze[0].step, short.warmup_steps) == (3, 2, 1)


def test_unfreezing_happens_at_its_step():
    recipe = Recipe(stages=(Stage(9),), frozen=("image_encoder",), unfreeze=(Unfreeze(5, ("image_encoder.fusion",)),))
    assert recipe.frozen_at(4) == (("image_encoder",), ())
    assert recipe.frozen_at(5) == (("image_encoder",), ("image_encoder.fusion",))
    assert not recipe.freezes("image_encoder")
