"""Train the pocket model: ``python -m pocket.train --out DIR``.

Same seed, same data and same start; stopped at any time, it goes on from the last checkpoint in
the folder. The learning rate rises, stays, and falls in the last part of the steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from pocket.model import Llama, Shape
from pocket.stream import batch
from pocket.tokenizer import train_tokenizer
from pocket.validate import scores

__all__ = ["main"]

_WARM_UP = 50
_CHECKPOINT = "checkpoint.pt"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the arguments and train."""
    args = _parser().parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer = _tokenizer(args.out / "tokenizer.json")
    model = Llama(Shape.of(args.hidden, args.layers), args.seed).to(args.device)
    optimizers = _optimizers(model, args.muon_lr, args.adam_lr)
    state = {"step": 0, "seconds": 0.0, "tokens": 0}
    _resume(args.out / _CHECKPOINT, model, optimizers, state)
    args.facts = {"arguments": _told(args), "shape": asdict(model.shape)}
    parameters = sum(weight.numel() for weight in model.parameters())
    print(f"{parameters:,} parameters; step {state['step']} of {args.steps}", flush=True)
    _train(args, model, tokenizer, optimizers, state)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pocket.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--rows", type=int, default=16, help="sequences a step")
    parser.add_argument("--length", type=int, default=256, help="tokens a sequence")
    parser.add_argument("--hidden", type=int, default=256, help="a multiple of 128")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--muon-lr", type=float, default=0.02, help="of the layers' matrices")
    parser.add_argument("--adam-lr", type=float, default=0.004, help="of all else")
    parser.add_argument("--decay", type=float, default=0.52, help="share of steps that cool down")
    parser.add_argument("--drop", type=float, default=0.25, help="learning rate as cooling begins")
    parser.add_argument("--long", type=float, default=0.1, help="share at the whole context, last")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's own number")
    parser.add_argument("--validate-every", type=int, default=250)
    parser.add_argument("--validate-items", type=int, default=64, help="of each kind")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--stop-at", type=int, default=0, help="leave after so many steps")
    return parser


def _tokenizer(path: Path) -> Tokenizer:
    if not path.exists():
        train_tokenizer().save(str(path))
    return Tokenizer.from_file(str(path))


def _optimizers(model: Llama, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, Adam for embeddings, head and norms."""
    matrices = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.0, momentum=0.95, nesterov=True),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _resume(
    path: Path, model: Llama, optimizers: list[torch.optim.Optimizer], state: dict[str, float]
) -> None:
    if not path.exists():
        return
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["model"])
    for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(values)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
    state.update(saved["state"])


def _told(args: argparse.Namespace) -> str:
    """The arguments that decide what comes out, where they are not the defaults."""
    names = (
        "steps",
        "rows",
        "length",
        "hidden",
        "layers",
        "muon_lr",
        "adam_lr",
        "decay",
        "drop",
        "long",
        "seed",
    )
    parser = _parser()
    chosen = [name for name in names if getattr(args, name) != parser.get_default(name)]
    return " ".join(f"--{name.replace('_', '-')} {getattr(args, name)}" for name in chosen)


def _save(
    args: argparse.Namespace,
    model: Llama,
    optimizers: list[torch.optim.Optimizer],
    state: dict[str, float],
) -> None:
    saved = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "state": state,
        **args.facts,
    }
    path = args.out / _CHECKPOINT
    new = path.with_suffix(".new")
    torch.save(saved, new)
    new.replace(path)  # killed at any instant, one whole checkpoint is there


def _rate(step: int, steps: int, decay: float, drop: float) -> float:
    """Of the learning rate, at a step.

    It drops at once where cooling begins: with steps of few tokens, the full rate keeps a small
    model from learning to look back (0.31 of what is to be recalled after a thousand steps of it,
    0.37 after another hundred at a fourth of the rate).
    """
    cooling = max(1, round(steps * decay))
    left = (steps - step) / cooling
    return min((step + 1) / _WARM_UP, 1.0) if left > 1 else drop * max(0.0, left)


def _train(
    args: argparse.Namespace,
    model: Llama,
    tokenizer: Tokenizer,
    optimizers: list[torch.optim.Optimizer],
    state: dict[str, float],
) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["full"] = group["lr"]
    begun = saved = time.monotonic()
    before = state["seconds"]
    shown, losses = time.monotonic(), []
    shown_tokens = state["tokens"]
    while state["step"] < args.steps:
        step = int(state["step"])
        last = step >= args.steps * (1 - args.long)
        longer = model.shape.context // args.length if last else 1
        losses.append(_step(args, model, tokenizer, optimizers, step, longer))
        state["step"] = step + 1
        state["tokens"] += max(1, args.rows // longer) * longer * args.length
        now = time.monotonic()
        state["seconds"] = before + now - begun
        if state["step"] % 20 == 0:
            speed = (state["tokens"] - shown_tokens) / (now - shown)
            left = (args.steps - step - 1) * args.rows * args.length / speed / 60
            print(
                f"step {step + 1} loss {sum(losses) / len(losses):.4f} "
                f"{speed:,.0f} tokens/s, {left:.0f} minutes left",
                flush=True,
            )
            shown, shown_tokens, losses = now, state["tokens"], []
        if state["step"] % args.validate_every == 0 or state["step"] == args.steps:
            _validate(args.out / "log.jsonl", model, tokenizer, state, args.validate_items)
        if now - saved > args.save_minutes * 60:
            _save(args, model, optimizers, state)
            saved = now
        if state["step"] == args.stop_at:
            break
    _save(args, model, optimizers, state)


def _step(
    args: argparse.Namespace,
    model: Llama,
    tokenizer: Tokenizer,
    optimizers: list[torch.optim.Optimizer],
    step: int,
    longer: int,
) -> float:
    """One step; the loss before it, a mean over the tokens that count."""
    data = batch(tokenizer, args.seed, step, max(1, args.rows // longer), args.length * longer)
    ids = torch.from_numpy(data.ids).to(args.device)
    weights = torch.from_numpy(data.weights).to(args.device).flatten()
    loss = _loss(model, ids, weights, args.device)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    rate = _rate(step, args.steps, args.decay, args.drop)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _loss(model: Llama, ids: Tensor, weights: Tensor, device: str) -> Tensor:
    """The head is applied where a target counts, and nowhere else."""
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        hidden = model(ids[:, :-1]).flatten(0, 1)
        counted = weights.nonzero().squeeze(1)
        logits = model.lm_head(hidden[counted])
    targets = ids[:, 1:].flatten()[counted]
    each = functional.cross_entropy(logits.float(), targets, reduction="none")
    chosen = weights[counted]
    return (each * chosen).sum() / chosen.sum()


def _validate(
    log: Path, model: Llama, tokenizer: Tokenizer, state: dict[str, float], items: int
) -> None:
    found = scores(model, tokenizer, items=items)
    print("  " + "  ".join(f"{name} {score:.2f}" for name, score in found.items()), flush=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**state, "scores": found}) + "\n")


if __name__ == "__main__":
    main()
