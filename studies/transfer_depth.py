"""Pretraining by labels, by the backbone's rate, and by how much is transferred.

Claim:   where data is few, begin with pretrained weights, and train them on at about a
         tenth of the rate. The fewer layers are transferred, the better they transfer,
         and the more data and computing it takes.
Source:  Yosinski et al., "How transferable are features in deep neural networks?",
         arXiv 1411.1792; the study notes (docs/site/notes.toml), sections "transfer
         learning" and "initial values in practice".
Data:    the embedded digits over photographs, 1, 5, 20 or 50 labels a class out of 797
         digits, tested on 1,000 others; glyphnet_small, pretrained on letters, in
         four parts: stem and three blocks. 100 batches of 32 random crops, Adam, half a
         cosine. What is transferred has a part of the head's rate, what is not has all
         of it. Each way has its own rate: two to a decade are tried until those beside
         it are worse, on another draw of 5 labels a class for 1 and 5, of 50 for 20 and
         50, and what it leaves of the 797. (At first 5 labels chose for all, which did
         training from scratch with 50 wrong; nothing else was changed for it.) Batch
         statistics are always learned, also where the rate is 0. What is known:
         finetune_arms has the larger glyphnet at 1, 5 and 20 labels and two ratios,
         zoo_transfer the frozen features at 5; here are the steps between, the parts.
Rule:    six signs. (1) All parts at a tenth of the rate beat training from scratch at
         each number of labels. (2) They win less with 50 labels than with 5. A tenth
         beats (3) the whole rate and (4) 0, by the mean over the numbers of labels. By
         the mean over 5 and 50 labels (5) one, two or three parts beat all four, and
         (6) transferring the stem alone costs more with 5 labels than with 50. Each
         with p < 0.05, and (5) with p < 0.05 / 3. Holds, if all; partly, if some; not
         here, if none. From scratch with three times the batches is told, and decides
         nothing.
Change:  longer training, which from scratch gains most by; a pretraining task that is
         further off.
Command: python studies/transfer_depth.py
Writes:  docs/studies/transfer_depth.json and .png
"""

import functools

import keras
import numpy as np
from harness import Study, by_signs, is_quick, lead, summarise
from pictures import COLOURS, band, dots, panels, plain_log

from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate
from hornbook.zoo.backbones import open_backbone
from hornbook.zoo.data.arrays.crops import centre_crops, random_crops
from hornbook.zoo.data.arrays.few_labels import draw_few
from hornbook.zoo.data.builders.hornbook_digits import POOL
from hornbook.zoo.data.builders.hornbook_photo_digits import photo_digits
from hornbook.zoo.finetune.head import build_head

BACKBONE, SIZE, CLASSES = "glyphnet_small.letters_rgb", 32, 10
PARTS = ("stem", "block1", "block2", "block3")
ALL = len(PARTS)
LABELS, FEW_AND_MANY = (1, 5, 20, 50), (5, 50)
RATIOS = (1, 1 / 3, 0.1, 1 / 30, 0)
RATES, FIRST = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1), 1e-2
STEPS, BATCH = 100, 32
if is_quick():
    RATES, STEPS = (FIRST,), 20
CHOOSING, LONGER = 100, 3  # another seed; times as many batches
SCRATCH, TENTH, WHOLE, FROZEN = (0, 0.1), (ALL, 0.1), (ALL, 1), (ALL, 0)
# How many parts are transferred, the part of the rate that they have, at which labels.
WAYS = {way: LABELS for way in (SCRATCH, WHOLE, TENTH, FROZEN)}
WAYS |= {(ALL, ratio): FEW_AND_MANY[:1] for ratio in (1 / 3, 1 / 30)}
WAYS |= {(parts, 0.1): FEW_AND_MANY for parts in (1, 2, 3)}

pictures = functools.cache(photo_digits)


@functools.cache
def draw(seed, labels, steps):
    """Crops to train on in their order, their labels; centre crops to test on."""
    images, classes = pictures()
    few = draw_few(classes[:POOL], labels, seed)
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(few) for _ in range(steps * BATCH // len(few) + 1)]
    order = np.concatenate(rounds)[: steps * BATCH]
    test = np.arange(POOL, len(images))
    if seed == CHOOSING:
        test = np.setdiff1d(np.arange(POOL), few)
    crops = random_crops(images[order], rng, SIZE)
    return crops, classes[order], centre_crops(images[test], SIZE), classes[test]


def build(pretrained):
    """A classifier, by the global seed."""
    weights = "default" if pretrained else None
    backbone = open_backbone(BACKBONE, weights=weights).model
    head = build_head(backbone.output_shape[-1], CLASSES)
    crops = keras.Input(backbone.input_shape[1:], name="crop")
    return keras.Model(crops, head(backbone(crops)), name="classifier")


@functools.cache
def compiled(steps):
    """The one that all runs train: to compile takes longer than most of them."""
    model = build(pretrained=True)
    decay = keras.optimizers.schedules.CosineDecay(1.0, steps)
    model.compile(
        LayerwiseLearningRate(keras.optimizers.Adam(decay), lambda variable: 1.0),
        loss="sparse_categorical_crossentropy",
        steps_per_execution=10,
    )
    model.optimizer.build(model.trainable_variables)
    return model, {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}


@functools.cache
def fresh(seed):
    """Random weights, in the model's order."""
    keras.utils.set_random_seed(seed)
    return build(pretrained=False).get_weights()


def trained(parts, ratio, rate, labels, seed, steps=STEPS):
    """Accuracy in %, after a training that begins anew."""
    model, shipped = compiled(steps)
    transferred = PARTS[:parts]
    for variable, random in zip(model.weights, fresh(seed), strict=True):
        kept = variable.path.startswith(transferred)
        variable.assign(shipped[variable.path] if kept else random)
    for variable in model.variables:
        if "seed_generator" in variable.path:  # of the dropout
            variable.assign(np.array([0, seed], "uint32"))
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    model.optimizer.multipliers = lambda variable: (
        rate * (ratio if variable.path.startswith(transferred) else 1)
    )
    crops, classes, test, test_classes = draw(seed, labels, steps)
    model.fit(crops, classes, BATCH, shuffle=False, verbose=0)
    guesses = model.predict(test, batch_size=500, verbose=0).argmax(axis=1)
    return 100 * float(np.mean(guesses == test_classes))


@functools.cache
def best_rate(parts, ratio, labels):
    """The one that no rate beside it beats, on another draw and what that leaves."""
    scores, best = {}, FIRST
    while True:
        place = RATES.index(best)
        beside = {*RATES[max(place - 1, 0) : place + 2]} - {*scores}
        for rate in sorted(beside):
            scores[rate] = trained(parts, ratio, rate, labels, CHOOSING)
        best = max(scores, key=scores.get)
        if not beside:
            return best


def arm(parts, ratio, labels, seed, steps=STEPS):
    """Test accuracy in %; the rate."""
    rate = best_rate(parts, ratio, min(n for n in FEW_AND_MANY if n >= labels))
    return trained(parts, ratio, rate, labels, seed, steps), {"rate": rate}


def name(way, labels):
    """Of an arm."""
    parts, ratio = way
    if parts == 0:
        return f"{labels} a class: from scratch"
    what = "all parts" if parts == ALL else f"{parts} of {ALL} parts"
    return f"{labels} a class: {what} at {ratio:.2g} of the rate"


LONG = f"{name(SCRATCH, 50)}, {LONGER} times the batches"


def gains(arms, way, over, labels):
    """Of one way over another, by seed: the mean over numbers of labels."""
    pairs = [
        np.subtract(arms[name(way, n)]["values"], arms[name(over, n)]["values"])
        for n in labels
    ]
    return np.mean(pairs, axis=0)


def lead_of(values, over=0):
    """The mean of values, seed by seed, over others, and p."""
    row = summarise(list(values), list(np.broadcast_to(over, np.shape(values))))
    return row.get("difference", 0.0), row.get("p", 1.0)


def decide(arms):
    """The rule of the header."""
    pretraining = {n: gains(arms, TENTH, SCRATCH, [n]) for n in LABELS}
    stem = {n: gains(arms, TENTH, (1, 0.1), [n]) for n in FEW_AND_MANY}
    fewer = {k: lead_of(gains(arms, (k, 0.1), TENTH, FEW_AND_MANY)) for k in (1, 2, 3)}
    by_labels = {n: lead_of(each) for n, each in pretraining.items()}
    found = {
        "whole": lead_of(gains(arms, TENTH, WHOLE, LABELS)),
        "frozen": lead_of(gains(arms, TENTH, FROZEN, LABELS)),
        "shrinks": lead_of(pretraining[5], pretraining[50]),
        "data": lead_of(stem[5], stem[50]),
    }
    sure = {key: by > 0 and p < 0.05 for key, (by, p) in found.items()}
    signs = (
        all(by > 0 and p < 0.05 for by, p in by_labels.values()),
        any(by > 0 and p < 0.05 / 3 for by, p in fewer.values()),
        *sure.values(),
    )
    won = ", ".join(f"{by:+.1f} at {n}" for n, (by, _) in by_labels.items())
    parts = ", ".join(f"{k}: {by:+.1f} (p = {p:.2g})" for k, (by, p) in fewer.items())
    ratios = (
        f"{by:+.1f} over {of} (p = {p:.2g})"
        for of, (by, p) in (("the whole rate", found["whole"]), ("0", found["frozen"]))
    )
    return by_signs(signs), (
        f"In points: pretraining at a tenth of the rate brings, by labels a class, "
        f"{won} ({lead(arms, name(TENTH, 50), LONG)[0]:+.1f} over from scratch with "
        f"{LONGER} times the batches). A tenth brings {' and '.join(ratios)}. Fewer "
        f"parts over all four: {parts}; the stem alone costs {stem[5].mean():.1f} with "
        f"5 labels and {stem[50].mean():.1f} with 50."
    )


def curve(axes, arms, cells, places, *style, **options):
    """Mean and spread of some arms; those that are not there are left out."""
    pairs = [pair for pair in zip(cells, places, strict=True) if pair[0] in arms]
    cells, places = zip(*pairs, strict=True)
    found = np.transpose([arms[cell]["values"] for cell in cells])
    band(axes, places, found, *style, marker="o", ms=4, **options)


def picture(result):
    """Accuracy by labels, by the backbone's rate, and by what is transferred."""
    arms = result["arms"]
    figure, (first, second, third) = panels(3, width=4.4, height=4, sharey=True)
    told = {
        "from scratch": SCRATCH,
        "all at the head's rate": WHOLE,
        "all at a tenth of it": TENTH,
        "all at 0": FROZEN,
    }
    for (label, way), colour in zip(told.items(), COLOURS, strict=False):
        curve(first, arms, [name(way, n) for n in LABELS], LABELS, colour, label)
    longer = arms[LONG]["values"]
    dots(first, 50, longer, COLOURS[0], f"scratch, {LONGER} × longer")
    plain_log(first.xaxis, LABELS)
    ratios, depths = RATIOS[::-1], range(ALL + 1)
    for n, colour, line in zip(FEW_AND_MANY, COLOURS[4:], "-:", strict=False):
        style = colour, f"{n} labels a class"
        cells = [name((ALL, ratio), n) for ratio in ratios]
        curve(second, arms, cells, range(5), *style, ls=line)
        cells = [name((parts, 0.1), n) for parts in depths]
        curve(third, arms, cells, depths, *style, ls=line)
    second.set_xticks(range(5), ["0", "1/30", "1/10", "1/3", "1"])
    third.set_xticks(depths, ["none", "stem", "+ block 1", "+ block 2", "+ block 3"])
    first.set(xlabel="Labels a class", ylabel="Test accuracy (%)")
    second.set(xlabel="Backbone's rate (part of the head's)")
    third.set(xlabel="Transferred, at a tenth of the rate")
    for axes in (first, second):
        axes.legend(frameon=False, fontsize=9, loc="lower right")
    second.set_title(f"{len(result['seeds'])} seeds, mean ± sd", size=10)
    return figure


STUDY = Study(
    file=__file__,
    arms={
        name(way, n): functools.partial(arm, *way, n)
        for way, labels in WAYS.items()
        for n in labels
    }
    | {LONG: functools.partial(arm, *SCRATCH, 50, steps=LONGER * STEPS)},
    baseline=name(TENTH, 5),
    measure="Test accuracy on digits over photographs (%)",
    decide=decide,
    setting=f"glyphnet_small, {STEPS} batches of {BATCH}, each way at its own rate",
    picture=picture,
)

if __name__ == "__main__":
    STUDY.main()
