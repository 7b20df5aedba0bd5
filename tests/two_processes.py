"""Train in every process that torchrun started, and write what each ends with into the folder given."""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from torch import Tensor

from gantools import data, nets, recipes, train


class Watching(nets.MLPDiscriminator):
    """Remembers the images of the D step, real and generated in turn: those that need no gradient."""

    seen: list[Tensor] = []  # noqa: RUF012

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if not x.requires_grad:
            self.seen.append(x.clone())
        return super().forward(x)


class Naming(nets.ACGANDiscriminator):
    """Remembers the labels of the D step."""

    seen: list[Tensor] = []  # noqa: RUF012

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if not x.requires_grad:
            self.seen.append(y.clone())
        return super().forward(x, y)


def write(out: Path, name: str, run: train.Run) -> None:
    networks = {"player": run.player, "discriminator": run.discriminator, "generator": run.generator}
    tensors = {f"{role}.{key}": value for role, net in networks.items() for key, value in net.state_dict().items()}
    save_file(
        {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()},
        out / f"{name}.safetensors",
    )


out = Path(sys.argv[1])
digits = data.load("mnist", limit=640)
mlp_gan = recipes.get("mlp-gan", steps=12)
penalty = mlp_gan.change(
    discriminator=Watching, r1=1.0, penalty_every=2, joint_d_batch=False, fresh_fakes=False, ema=0.9
)
acgan = recipes.get("acgan", discriminator=Naming, batch=20, g_batch=20, steps=3, balanced=True)
rgan = recipes.get("rgan", batch=20, steps=3)
for name, recipe in {"mlp-gan": mlp_gan, "penalty": penalty, "acgan": acgan, "rgan": rgan}.items():
    run = train.fit(recipe, digits, out / name)
    state = PartialState()  # as `fit` made it
    assert state.num_processes == 2, state
    write(out, f"{name}-{state.process_index}", run)
    told = [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]
    (out / f"{name}-{state.process_index}.json").write_text(json.dumps(told))
    if state.is_main_process:
        write(out, f"{name}-start", train.Run.start(run.recipe, run.data))
save_file(
    {
        "images": torch.cat(Watching.seen[::2]),
        "fakes": torch.cat(Watching.seen[1::2]),
        "labels": torch.stack(Naming.seen),
    },
    out / f"seen-{state.process_index}.safetensors",
)
