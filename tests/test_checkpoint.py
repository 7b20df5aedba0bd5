import json
import math
import re
from contextlib import contextmanager

import pytest
import torch

from gantools import checkpoint, data, nets, recipes, runfiles, train
from gantools.checkpoint import CheckpointError


@pytest.fixture
def trained(recipe, tiny, tmp_path):
    """A run of seven steps, in the middle of its second epoch, saved in the folder `run`."""
    return train.fit(recipe.change(steps=7, ema=0.9), tiny, tmp_path / "run")


@pytest.fixture
def folder(trained, tmp_path):
    return tmp_path / "run"


def assert_same_tensors(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def edit(folder, **changes):
    """Rewrite fields of run.json; None removes one."""
    about = json.loads((folder / "run.json").read_text()) | changes
    (folder / "run.json").write_text(json.dumps({name: value for name, value in about.items() if value is not None}))


def stored(folder, field):
    return json.loads((folder / "run.json").read_text())[field]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# There and back


def test_a_loaded_run_is_the_saved_one_bit_for_bit(trained, folder):
    loaded = train.load(folder)
    assert_same_tensors(loaded.player.state_dict(), trained.player.state_dict())
    assert_same_tensors(loaded.discriminator.state_dict(), trained.discriminator.state_dict())
    assert_same_tensors(loaded.generator.state_dict(), trained.generator.state_dict())
    for role in ("d_optimizer", "g_optimizer"):
        states = getattr(loaded, role).state_dict()["state"], getattr(trained, role).state_dict()["state"]
        assert states[0].keys() == states[1].keys()
        assert len(states[0]) == 8
        for index in states[0]:
            assert_same_tensors(states[0][index], states[1][index])
    assert loaded.recipe == trained.recipe
    assert loaded.data == trained.data
    assert loaded.step == 7
    assert loaded.rows == trained.rows
    assert loaded.open_row == trained.open_row
    assert loaded.seconds == pytest.approx(trained.seconds, abs=0.01)


def test_player_and_average_are_kept_apart(trained, folder):
    loaded = train.load(folder)
    name = "layers.0.weight"
    assert not torch.equal(loaded.player.state_dict()[name], loaded.generator.state_dict()[name])


def test_the_folder_holds_three_files_and_no_pickle(folder):
    kinds = [re.sub("-[0-9a-f]{8}[.]", ".", name) for name in sorted(files(folder))]
    assert kinds == ["networks-7.safetensors", "optimizers-7.safetensors", "run.json"]


def test_a_later_checkpoint_replaces_the_files_of_the_earlier(recipe, tiny, folder):
    train.fit(recipe.change(steps=9, ema=0.9), tiny, folder, resume=True)
    kinds = [re.sub("-[0-9a-f]{8}[.]", ".", name) for name in sorted(files(folder))]
    assert kinds == ["networks-9.safetensors", "optimizers-9.safetensors", "run.json"]
    assert train.load(folder).step == 9


def test_a_shipped_run_is_small_and_samples_like_the_whole(trained, tmp_path):
    folder = checkpoint.save(trained, tmp_path / "shipped", networks_only=True, bits=16)
    assert len(files(folder)) == 2
    assert sum(map(len, files(folder).values())) < 2 * (114_800 + 110_849) + 10_000
    loaded = train.load(folder)
    assert (loaded.sample(20) - trained.sample(20)).abs().max() < 0.01
    assert loaded.history == trained.history
    assert next(loaded.player.parameters()).dtype == torch.float32


def test_a_loaded_run_is_in_eval_mode_and_its_generator_called_by_itself_draws_what_it_samples(trained, folder):
    loaded = train.load(folder)
    networks = loaded.player, loaded.discriminator, loaded.generator
    assert not any(module.training for network in networks for module in network.modules())
    z, y = loaded.draw_z(5), torch.zeros(5, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(loaded.generator(z, y), trained.sample(z=z))


def test_where_the_average_alone_is_shipped_it_is_the_player_too(trained, tmp_path):
    loaded = train.load(checkpoint.save(trained, tmp_path / "shipped", networks_only=True))
    assert_same_tensors(loaded.player.state_dict(), trained.generator.state_dict())


def test_a_run_in_eight_bits_is_half_as_large_again_and_samples_nearly_the_same(trained, tmp_path):
    half, small = (checkpoint.save(trained, tmp_path / str(bits), bits=bits) for bits in (16, 8))
    sizes = [next(folder.glob("*.safetensors")).stat().st_size for folder in (half, small)]
    assert sizes[1] < 0.56 * sizes[0]
    loaded = train.load(small)
    assert (loaded.sample(20) - trained.sample(20)).abs().mean() < 0.01
    again = train.load(checkpoint.save(loaded, tmp_path / "again", bits=8))
    assert_same_tensors(again.generator.state_dict(), loaded.generator.state_dict())


def test_a_weight_has_as_many_bits_as_there_are_forms(trained, tmp_path):
    with pytest.raises(ValueError, match="bits=4 must be one of 32, 16, 8"):
        checkpoint.save(trained, tmp_path / "tiny", bits=4)
    assert not (tmp_path / "tiny").exists()


def test_half_precision_is_for_networks_alone(trained, tmp_path):
    assert not checkpoint.resumable(checkpoint.save(trained, tmp_path / "half", bits=16))


def test_an_empty_folder_does_not_hide_a_shipped_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ring").mkdir()
    assert train.load("ring").folder.parent.name == "checkpoints"


def test_a_run_shipped_without_its_discriminator_samples_and_refuses_to_judge(trained, tmp_path):
    folder = checkpoint.save(trained, tmp_path / "small", networks_only=True, discriminator=False)
    assert sum(map(len, files(folder).values())) < 4 * 114_800 + 10_000
    loaded = train.load(folder)
    assert torch.equal(loaded.sample(20), trained.sample(20))
    with pytest.raises(CheckpointError, match="without its discriminator"):
        loaded.discriminator(loaded.sample(2))


def test_a_run_that_goes_on_keeps_its_discriminator(trained, tmp_path):
    loaded = train.load(checkpoint.save(trained, tmp_path / "whole", discriminator=False))
    x = trained.sample(3)
    assert torch.equal(loaded.discriminator.eval()(x), trained.discriminator.eval()(x))


def test_a_shipped_run_cannot_be_saved_as_one_that_goes_on(trained, tmp_path):
    shipped = train.load(checkpoint.save(trained, tmp_path / "shipped", networks_only=True))
    with pytest.raises(CheckpointError, match="without optimizers; save it with networks_only=True"):
        checkpoint.save(shipped, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    again = train.load(checkpoint.save(shipped, tmp_path / "again", networks_only=True))
    assert torch.equal(again.sample(5), trained.sample(5))


def test_half_precision_halves_the_file_and_rounds_the_weights(trained, tmp_path):
    whole = checkpoint.save(trained, tmp_path / "whole", networks_only=True)
    half = checkpoint.save(trained, tmp_path / "half", networks_only=True, bits=16)
    sizes = [next(folder.glob("*.safetensors")).stat().st_size for folder in (whole, half)]
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)
    for name, value in train.load(half).discriminator.state_dict().items():
        assert torch.equal(value, trained.discriminator.state_dict()[name].half().float())


def test_resumable_means_with_optimizers(trained, folder, tmp_path):
    assert checkpoint.resumable(folder)
    assert not checkpoint.resumable(checkpoint.save(trained, tmp_path / "shipped", networks_only=True))
    assert not checkpoint.resumable(tmp_path / "nowhere")


def test_a_recipe_of_ones_own_loads_when_given(conditional, tiny, tmp_path):
    run = train.fit(conditional, tiny, tmp_path / "own")
    with pytest.raises(CheckpointError, match=r"no recipe 'shades'; give yours: load\(path, recipe=…\)"):
        train.load(tmp_path / "own")
    loaded = train.load(tmp_path / "own", recipe=conditional)
    assert torch.equal(loaded.sample(10), run.sample(10))


def test_the_run_keeps_the_scalars_it_was_saved_with(folder):
    loaded = train.load(folder, recipe=recipes.get("mlp-gan", d_lr=0.5))
    assert loaded.recipe.d_lr == 2e-3
    assert loaded.d_optimizer.param_groups[0]["lr"] == 2e-3


def test_shipped_runs_are_listed_and_load_by_name(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "ASSETS", tmp_path / "assets")
    assert train.shipped() == []
    for name in ("b-mnist", "a-mnist"):
        checkpoint.save(trained, tmp_path / "assets" / "checkpoints" / name, networks_only=True)
    (tmp_path / "assets" / "checkpoints" / "empty").mkdir()
    assert train.shipped() == ["a-mnist", "b-mnist"]
    assert torch.equal(train.load("a-mnist").sample(3), trained.sample(3))
    with pytest.raises(CheckpointError, match=r"no run in c-mnist .*shipped runs: a-mnist, b-mnist"):
        train.load("c-mnist")


@pytest.mark.parametrize("name", train.shipped())
def test_what_is_shipped_loads_and_samples(name):
    run = train.load(name)
    assert run.sample(16).std() > 0.3


def test_the_shipped_mlp_gan_is_the_published_recipe():
    run = train.load("mlp-gan-mnist")
    assert run.recipe == recipes.get("mlp-gan")
    assert run.step == run.recipe.total_steps(60_000)


def test_a_run_knows_its_folder(trained, folder, recipe, tiny):
    assert trained.folder == folder
    assert train.load(folder).folder == folder
    assert train.fit(recipe, tiny).folder is None


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no run in .* \(it has no run\.json\)"):
        train.load(tmp_path)


@pytest.mark.parametrize("name", ["generator", "discriminator", "loss"])
def test_other_networks_or_another_loss_are_refused(folder, name):
    edit(folder, recipe=stored(folder, "recipe") | {name: "Another"})
    with pytest.raises(CheckpointError, match=f"trained with another {name} than the recipe 'mlp-gan' has"):
        train.load(folder)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("batches", 3, "no field 'batches': did you mean 'batch'"),
        ("d_lr", "fast", "expected float"),
        ("batch", 0, "must be above 0"),
    ],
)
def test_a_stored_recipe_that_does_not_fit_is_refused(folder, field, value, complaint):
    edit(folder, recipe=stored(folder, "recipe") | {field: value})
    with pytest.raises(CheckpointError, match=complaint) as refusal:
        train.load(folder)
    assert str(folder) in str(refusal.value)


def test_weights_that_do_not_fit_the_recipe_are_refused(folder):
    edit(folder, recipe=stored(folder, "recipe") | {"z_dim": 50})
    with pytest.raises(CheckpointError, match="the generator's weights do not fit its recipe") as refusal:
        train.load(folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


# Writing


@pytest.mark.parametrize("deadly", [1, 2, 3])
def test_a_write_that_dies_half_way_leaves_the_previous_checkpoint(trained, folder, tiny, monkeypatch, deadly):
    later = train.fit(trained.recipe.change(steps=9), tiny)
    write, calls = runfiles.write_whole, []

    def dying(path, raw):
        calls.append(path)
        if len(calls) == deadly:
            path.with_name(f".{path.name}.partial").write_bytes(raw[: len(raw) // 2])
            raise OSError(28, "No space left on device")
        write(path, raw)

    monkeypatch.setattr(runfiles, "write_whole", dying)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(later, folder)
    survivor = train.load(folder)
    assert survivor.step == 7
    assert_same_tensors(survivor.player.state_dict(), trained.player.state_dict())
    monkeypatch.setattr(runfiles, "write_whole", write)
    assert train.load(checkpoint.save(later, folder)).step == 9


@contextmanager
def no_room_for_run_json(monkeypatch):
    """The disk is full when the weights are written: what is saved inside fails there."""
    write = runfiles.write_whole

    def dying(path, raw):
        if path.name == "run.json":
            raise OSError(28, "No space left on device")
        write(path, raw)

    monkeypatch.setattr(runfiles, "write_whole", dying)
    with pytest.raises(OSError, match="No space left"):
        yield


@pytest.mark.parametrize("before", [32, 16])
def test_another_form_of_the_same_step_does_not_harm_the_one_before(trained, folder, monkeypatch, before):
    checkpoint.save(trained, folder, bits=before)
    kept = train.load(folder).player.state_dict()
    with no_room_for_run_json(monkeypatch):
        checkpoint.save(trained, folder, bits=before // 2)
    assert_same_tensors(train.load(folder).player.state_dict(), kept)


def test_another_run_at_the_same_step_does_not_harm_the_one_before(trained, folder, tiny, monkeypatch):
    other = train.fit(trained.recipe.change(seed=1), tiny)
    assert other.step == trained.step
    with no_room_for_run_json(monkeypatch):
        checkpoint.save(other, folder)
    assert_same_tensors(train.load(folder).player.state_dict(), trained.player.state_dict())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_not_saved(trained, folder, value):
    before = files(folder)
    with torch.no_grad():
        next(trained.discriminator.parameters())[0, 0] = value
    with pytest.raises(CheckpointError, match="NaN or infinite; the checkpoint there is kept"):
        checkpoint.save(trained, folder)
    assert files(folder) == before


# Going on with a run


def test_an_existing_run_is_not_overwritten_unasked(trained, folder, tiny):
    before = files(folder)
    with pytest.raises(CheckpointError, match=r"already holds a run: resume it \(resume=True, --resume\)"):
        train.fit(trained.recipe, tiny, folder)
    assert files(folder) == before


def test_resuming_where_there_is_nothing_starts(recipe, tiny, tmp_path):
    assert train.fit(recipe, tiny, tmp_path / "new", resume=True).step == 10


def test_a_run_saved_only_after_its_training_can_be_resumed(recipe, tiny, tmp_path):
    folder = checkpoint.save(train.fit(recipe.change(steps=7), tiny), tmp_path / "late")
    resumed = train.fit(recipe, tiny, folder, resume=True)
    assert_same_tensors(resumed.player.state_dict(), train.fit(recipe, tiny).player.state_dict())


@pytest.mark.parametrize(
    ("field", "value", "difference"),
    [("batch", 4, "batch was 8, is 4"), ("d_lr", 1e-3, "d_lr was 0.002, is 0.001"), ("seed", 1, "seed was 0, is 1")],
)
def test_resuming_with_another_recipe_is_refused(trained, folder, tiny, field, value, difference):
    with pytest.raises(CheckpointError, match=difference):
        train.fit(trained.recipe.change(**{field: value}), tiny, folder, resume=True)


def test_resuming_with_other_data_is_refused(trained, folder, make_set):
    with pytest.raises(CheckpointError, match=r"was trained otherwise .*digest was"):
        train.fit(trained.recipe, make_set(seed=1), folder, resume=True)
    with pytest.raises(CheckpointError, match="count was 40, is 48"):
        train.fit(trained.recipe, make_set(48), folder, resume=True)


def test_a_run_without_optimizers_cannot_be_resumed(trained, tiny, tmp_path):
    folder = checkpoint.save(trained, tmp_path / "shipped", networks_only=True)
    with pytest.raises(CheckpointError, match="sampled from, not resumed"):
        train.fit(trained.recipe, tiny, folder, resume=True)


def test_files_of_others_in_the_folder_stay(start, recipe, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    checkpoint.save(start(recipe), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"mine"


def test_weights_that_half_precision_cannot_hold_are_refused(start, recipe, tmp_path):
    run = start(recipe)
    next(run.player.parameters()).data.fill_(1e5)
    checkpoint.save(run, tmp_path / "whole")
    with pytest.raises(CheckpointError, match="too large for 16 bits; save them with bits=32"):
        checkpoint.save(run, tmp_path / "half", bits=16)


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(recipe, tiny, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="cannot write into"):
        checkpoint.open_run(recipe, tiny, tmp_path / "file", resume=False)


def test_a_run_beyond_the_steps_asked_for_is_not_shortened(recipe, tiny, tmp_path):
    train.fit(recipe.change(steps=4), tiny, tmp_path)
    with pytest.raises(CheckpointError, match="at step 4 already, beyond the 2"):
        train.fit(recipe.change(steps=2), tiny, tmp_path, resume=True)


def test_every_shipped_run_went_to_its_end():
    for name in train.shipped():
        run = train.load(name)
        assert run.step == run.recipe.total_steps(run.data["count"]), name


def test_the_shipped_runs_of_ten_thousand_digits_know_them_again():
    """With another digest no run could be resumed, and memorisation would not be measured."""
    digest = data.load("mnist", limit=10_000).digest()
    runs = [train.load(name) for name in train.shipped() if name.startswith(("cdcgan", "cgan", "rgan-mnist-10k"))]
    assert len(runs) == 5
    assert all(run.data["digest"] == digest for run in runs)


def test_a_network_that_names_a_layer_twice_is_saved_and_loaded(tiny, tmp_path):
    class Aliased(nets.MLPDiscriminator):
        def __init__(self, **options):
            super().__init__(**options)
            self.last = next(layer for layer in self.modules() if isinstance(layer, torch.nn.Linear))

    recipe = recipes.get("mlp-gan", batch=8, steps=2, discriminator=Aliased)
    run = train.fit(recipe, tiny, tmp_path)
    assert_same_tensors(train.load(tmp_path, recipe).discriminator.state_dict(), run.discriminator.state_dict())
