"""Five-fold cross-validation as a plain comprehension over pipelines.

python examples/kfold.py
"""

import torch
from digits import accuracy, digits, network
from torch import nn

import fdm


whole = fdm.without(digits, "split")
folds = [
    fdm.pipeline(*whole.stages[:1], fdm.fold(5, index, stratify="label", seed=42), *whole.stages[1:])
    for index in range(5)
]


def fit(p: fdm.Pipeline, epochs: int = 4) -> float:
    """Train on the fold's training split, and return the accuracy on its validation split."""
    with fdm.open(p) as data:
        model = network(data.facts["classes"]).to(data.context.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for loader in data.epochs("train", epochs):
            for batch in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
                optimizer.step()
        return accuracy(model, data.loader("val"))


if __name__ == "__main__":
    scores = torch.tensor([fit(p) for p in folds])
    for index, score in enumerate(scores.tolist()):
        print(f"fold {index}: accuracy {score:.1%}")
    print(f"mean {scores.mean():.1%}, standard deviation {scores.std():.1%}")
