"""What torchmetrics makes of batches of predictions and labels: test/goldens/metrics/metrics.json.

    pip install torchmetrics
    python3 scripts/goldens/metrics.py

Values are those of torchmetrics 1.9. Where scikit-learn measures the same, the script stops unless both agree;
where it is named `only`, its value is the golden, because torchmetrics takes small sums for 0 (see R2Score).
"""
import json
import math
import os
import warnings

import numpy as np
import sklearn.metrics as sk
import torch
import torchmetrics

warnings.simplefilter('ignore')
random = np.random.default_rng(7)
cases = []
# Each batch once; cases name them by number.
shared = []


def plain(value):
    value = torch.as_tensor(value).tolist()
    walk = lambda x: [walk(y) for y in x] if isinstance(x, list) else 'NaN' if x != x else x
    return walk(value)


def numbered(preds, target):
    batch = {'preds': plain(preds), 'target': plain(target), 'float': preds.dtype.kind == 'f'}
    if batch not in shared:
        shared.append(batch)
    return shared.index(batch)


def both(batches):
    preds, target = zip(*batches)
    return np.concatenate([np.asarray(p) for p in preds]), np.concatenate([np.asarray(t) for t in target])


def case(name, metric, batches, sklearn=None, only=False, **options):
    batches = [(np.asarray(p), np.asarray(t)) for p, t in batches]
    value = None
    if not only:
        made = getattr(torchmetrics, metric)(**options)
        for p, t in batches:
            preds = torch.tensor(p, dtype=torch.float32 if p.dtype.kind == 'f' else torch.int64)
            target = torch.tensor(t, dtype=torch.float32 if t.dtype.kind == 'f' else torch.int64)
            made.update(preds, target)
        value = plain(made.compute())
    if sklearn is not None:
        theirs = sklearn(*both(batches))
        if only:
            value = plain(theirs)
        elif not np.allclose(np.asarray(theirs, dtype=float), np.asarray(value, dtype=float), rtol=2e-5, atol=2e-6):
            raise SystemExit(f'{metric}, {name}: torchmetrics has {value}, scikit-learn {theirs}')
    cases.append({
        'name': name,
        'metric': metric,
        'options': options,
        'batches': [numbered(p, t) for p, t in batches],
        'value': value,
        'by': ' and '.join(([] if only else ['torchmetrics']) + ([] if sklearn is None else ['scikit-learn'])),
    })


def scores(n, c, places=3):
    """Probabilities with few digits, so that some are equal."""
    raw = random.dirichlet(np.ones(c), n)
    return np.round(raw, places)


def logits(*shape):
    return np.round(random.normal(0, 2, shape), 3)


def softmax(x):
    grown = np.exp(x - x.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


labels = lambda n, c: random.integers(0, c, n)
ten = [(logits(n, 10), labels(n, 10)) for n in (32, 32, 7)]
five = [(scores(n, 5), labels(n, 5)) for n in (40, 1, 23)]
guesses = [(labels(30, 4), labels(30, 4)), (labels(5, 4), labels(5, 4))]
# Of six classes 0 has no label, 1 no prediction, 2 neither.
sparse = [([0, 3, 4, 5, 5, 4], [1, 3, 4, 5, 4, 1])]
skipped = [(labels(20, 4), np.where(random.random(20) < 0.3, -1, labels(20, 4)))]
images = [(logits(2, 3, 4, 5), random.integers(0, 3, (2, 4, 5)))]
two = [(np.round(random.random(n), 2), labels(n, 2)) for n in (50, 12)]
two_logits = [(logits(40), labels(40, 2))]
averages = ('micro', 'macro', 'weighted', 'none')
sk_average = lambda a: None if a == 'none' else a

arg = lambda p: p.argmax(1)
stats = {
    'Precision': sk.precision_score,
    'Recall': sk.recall_score,
    'F1Score': sk.f1_score,
}
for a in averages:
    multi = dict(task='multiclass', average=a)
    recall = lambda p, t, a=a, c=10: sk.recall_score(t, arg(p), average=sk_average(a), labels=range(c), zero_division=0)
    case(f'logits, {a}', 'Accuracy', ten, recall, num_classes=10, **multi)
    case(f'top 3, {a}', 'Accuracy', ten, num_classes=10, top_k=3, **multi)
    case(f'absent classes, {a}', 'Accuracy', sparse, num_classes=6, **multi)
    case(f'an ignored label that is no class, {a}', 'Accuracy', skipped, num_classes=4, ignore_index=-1, **multi)
    case(f'an ignored class, {a}', 'Accuracy', guesses, num_classes=4, ignore_index=2, **multi)
    for metric, reference in stats.items():
        case(f'class indices, {a}', metric, guesses,
             lambda p, t, a=a, f=reference: f(t, p, average=sk_average(a), labels=range(4), zero_division=0),
             num_classes=4, **multi)
        # scikit-learn's macro counts classes that are nowhere; named, only those that are somewhere.
        case(f'absent classes, {a}', metric, sparse,
             None if a == 'none' else lambda p, t, a=a, f=reference: f(
                 t, p, average=a, labels=[0, 1, 3, 4, 5], zero_division=0),
             num_classes=6, **multi)
        case(f'an ignored class, {a}', metric, guesses, num_classes=4, ignore_index=2, **multi)
    case(f'beta 2, {a}', 'FBetaScore', five,
         lambda p, t, a=a: sk.fbeta_score(t, arg(p), beta=2, average=sk_average(a), labels=range(5), zero_division=0),
         num_classes=5, beta=2.0, **multi)
    case(f'0 / 0 is 1, {a}', 'Precision', sparse, num_classes=6, zero_division=1, **multi)
    case(f'top 2, {a}', 'Precision', five, num_classes=5, top_k=2, **multi)
    case(f'top 2, {a}', 'Recall', five, num_classes=5, top_k=2, **multi)
    case(f'top 2, {a}', 'F1Score', five, num_classes=5, top_k=2, **multi)
case('images', 'Accuracy', images, num_classes=3, task='multiclass')
case('images, top 2', 'Accuracy', images, num_classes=3, task='multiclass', top_k=2)
case('top 5', 'Accuracy', ten, lambda p, t: sk.top_k_accuracy_score(t, p, k=5, labels=range(10)),
     num_classes=10, task='multiclass', top_k=5)
case('all labels ignored', 'Accuracy', [([0, 1], [-1, -1])], num_classes=2, task='multiclass', ignore_index=-1)

half = lambda p: (p > 0.5).astype(int)
case('probabilities', 'Accuracy', two, lambda p, t: sk.accuracy_score(t, half(p)), task='binary')
case('logits', 'Accuracy', two_logits, lambda p, t: sk.accuracy_score(t, p > 0), task='binary')
case('classes', 'Accuracy', [([0, 1, 1, 0], [0, 1, 0, 0])], task='binary')
case('a threshold', 'Accuracy', two, lambda p, t: sk.accuracy_score(t, p > 0.8), task='binary', threshold=0.8)
case('logits and a threshold', 'Recall', two_logits,
     lambda p, t: sk.recall_score(t, p > math.log(0.8 / 0.2)), task='binary', threshold=0.8)
case('an ignored label', 'F1Score', [([0, 1, 1, 0, 1], [0, 1, -1, 1, 0])], task='binary', ignore_index=-1)
for metric, reference in stats.items():
    case('probabilities', metric, two, lambda p, t, f=reference: f(t, half(p)), task='binary')
    case('nothing found', metric, [([0, 0], [0, 0])], task='binary')
case('beta 0.5', 'FBetaScore', two, lambda p, t: sk.fbeta_score(t, half(p), beta=0.5), task='binary', beta=0.5)

for normalize in ('none', 'true', 'pred', 'all'):
    case(f'normalize {normalize}', 'ConfusionMatrix', five,
         lambda p, t, n=normalize: sk.confusion_matrix(t, arg(p), labels=range(5), normalize=None if n == 'none' else n),
         task='multiclass', num_classes=5, normalize=normalize)
    case(f'absent classes, normalize {normalize}', 'ConfusionMatrix', sparse,
         lambda p, t, n=normalize: sk.confusion_matrix(t, p, labels=range(6), normalize=None if n == 'none' else n),
         task='multiclass', num_classes=6, normalize=normalize)
case('an ignored label', 'ConfusionMatrix', skipped, task='multiclass', num_classes=4, ignore_index=-1)
case('binary', 'ConfusionMatrix', two, lambda p, t: sk.confusion_matrix(t, half(p)), task='binary')

sums = lambda p: p / p.sum(1, keepdims=True)
curve = [(scores(n, 4, 2), labels(n, 4)) for n in (60, 3, 20)]
raw = [(logits(50, 3), labels(50, 3)), (logits(9, 3), labels(9, 3))]
missing = [([[.8, .1, .1], [.3, .6, .1], [.2, .5, .3], [.6, .3, .1]], [0, 1, 1, 0])]
rest = lambda t, c: (t[:, None] == np.arange(c)).astype(int)
for metric, reference in {'AUROC': sk.roc_auc_score, 'AveragePrecision': sk.average_precision_score}.items():
    for a in ('macro', 'weighted', 'none'):
        multi = dict(task='multiclass', average=a)
        one = lambda p, t, a=a, f=reference: f(rest(t, p.shape[1]), p, average=sk_average(a))
        case(f'probabilities with ties, {a}', metric, curve, one, num_classes=4, **multi)
        case(f'logits, {a}', metric, raw, lambda p, t, f=one: f(softmax(p), t), num_classes=3, **multi)
        case(f'a class without labels, {a}', metric, missing, num_classes=3, **multi)
        for thresholds in (5, [0.1, 0.25, 0.3, 0.8]):
            case(f'thresholds {thresholds}, {a}', metric, curve, num_classes=4, thresholds=thresholds, **multi)
        case(f'a class without labels, thresholds, {a}', metric, missing, num_classes=3, thresholds=5, **multi)
        case(f'an ignored class, {a}', metric, curve, num_classes=4, ignore_index=2, **multi)
    case('images', metric, images, task='multiclass', num_classes=3)
    flat = lambda p, t, f=reference: f(t, p)
    case('binary, ties', metric, two, flat, task='binary')
    case('binary, logits', metric, two_logits, flat, task='binary')
    case('binary, an ignored label', metric, [([.2, .9, .4, .6], [0, 1, -1, 0])], task='binary', ignore_index=-1)
    case('binary, all equal', metric, [([.5, .5, .5], [0, 1, 0])], flat, task='binary')
    case('binary, no label is 1', metric, [([.1, .7], [0, 0])], task='binary')
    case('binary, every label is 1', metric, [([.1, .7], [1, 1])], task='binary')
    case('binary, thresholds 11', metric, two, task='binary', thresholds=11)

line = [(logits(n), logits(n)) for n in (30, 1, 8)]
wide = [(logits(n, 3), logits(n, 3)) for n in (20, 5)]
near = [(p * 0.1 + t, t) for p, t in wide]
case('all values', 'MeanSquaredError', line, lambda p, t: sk.mean_squared_error(t, p))
case('of a matrix', 'MeanSquaredError', wide, lambda p, t: sk.mean_squared_error(t, p))
case('its root', 'MeanSquaredError', line, lambda p, t: math.sqrt(sk.mean_squared_error(t, p)), squared=False)
case('outputs', 'MeanSquaredError', wide,
     lambda p, t: sk.mean_squared_error(t, p, multioutput='raw_values'), num_outputs=3)
case('all values', 'MeanAbsoluteError', line, lambda p, t: sk.mean_absolute_error(t, p))
case('outputs', 'MeanAbsoluteError', wide,
     lambda p, t: sk.mean_absolute_error(t, p, multioutput='raw_values'), num_outputs=3)
case('a line', 'R2Score', [(p * 0.1 + t, t) for p, t in line], lambda p, t: sk.r2_score(t, p))
for how in ('raw_values', 'uniform_average', 'variance_weighted'):
    r2 = lambda p, t, how=how: sk.r2_score(t, p, multioutput=how)
    case(how, 'R2Score', near, None if how == 'raw_values' else r2, multioutput=how)
    case(f'{how}, adjusted', 'R2Score', near, multioutput=how, adjusted=3)
    case(f'{how}, an output that is constant', 'R2Score',
         [([[1., 2.], [2., 2.], [4., 2.5]], [[1., 2.], [2., 2.], [3., 2.]])], r2, only=True, multioutput=how)
case('small targets', 'R2Score', [([.001, .0022, .0029], [.001, .002, .003])], lambda p, t: sk.r2_score(t, p), only=True)
case('around a large mean', 'R2Score', [([10001., 10002.5, 10003.], [10001., 10002., 10003.])] * 2,
     lambda p, t: sk.r2_score(t, p), only=True)
case('constant, hit', 'R2Score', [([.1, .1, .1], [.1, .1, .1])], lambda p, t: sk.r2_score(t, p), only=True)
case('constant, missed', 'R2Score', [([.5, .5, .75], [.5, .5, .5])], lambda p, t: sk.r2_score(t, p), only=True)
case('weights', 'MeanMetric', [([1., 2., 4.], [1., 1., 2.]), ([7.], [0.5])])

# Several yes or no for each sample: of label 3 there is no yes, of label 4 no no.
def tags(*shape):
    drawn = (random.random(shape) < 0.4).astype(int)
    drawn[:, 3], drawn[:, 4] = 0, 1
    return drawn


marked = [(np.round(random.random((n, 5)), 2), tags(n, 5)) for n in (30, 1, 12)]
marked_logits = [(logits(n, 5), tags(n, 5)) for n in (25, 8)]
answers = [(tags(16, 5), tags(16, 5))]
maps = [(logits(2, 5, 3, 4), tags(2, 5, 3, 4))]
some = np.where(random.random((20, 5)) < 0.3, -1, tags(20, 5))
unknown = [(np.round(random.random((20, 5)), 2), some)]
multilabel = dict(task='multilabel', num_labels=5)
for a in averages:
    of = dict(average=a, **multilabel)
    case(f'labels, {a}', 'Accuracy', marked, num_labels=5, task='multilabel', average=a)
    case(f'labels, 0 and 1, {a}', 'Accuracy', answers, **of)
    case(f'labels, ignored, {a}', 'Accuracy', unknown, ignore_index=-1, **of)
    for metric, reference in stats.items():
        by = lambda p, t, f=reference, a=a: f(t, half(p), average=sk_average(a), zero_division=0)
        case(f'labels, {a}', metric, marked, by, **of)
        case(f'labels, logits and a threshold, {a}', metric, marked_logits,
             lambda p, t, f=reference, a=a: f(
                 t, (p > math.log(0.7 / 0.3)).astype(int), average=sk_average(a), zero_division=0),
             threshold=0.7, **of)
        case(f'labels, 0 and 1, {a}', metric, answers,
             lambda p, t, f=reference, a=a: f(t, p, average=sk_average(a), zero_division=0), **of)
        case(f'labels, ignored, {a}', metric, unknown, ignore_index=-1, **of)
    case(f'labels, maps, {a}', 'F1Score', maps, **of)
    case(f'labels, beta 2, {a}', 'FBetaScore', marked, beta=2.0, **of)
    for metric in ('AUROC', 'AveragePrecision'):
        case(f'labels, {a}', metric, marked, **of)
        case(f'labels, logits, {a}', metric, marked_logits, **of)
        case(f'labels, maps, {a}', metric, maps, **of)
        case(f'labels, ignored, {a}', metric, unknown, ignore_index=-1, **of)
        case(f'labels, ignored, thresholds, {a}', metric, unknown, ignore_index=-1, thresholds=5, **of)
        case(f'labels, thresholds, {a}', metric, marked, thresholds=[0.1, 0.25, 0.3, 0.8], **of)
# scikit-learn refuses labels that are always yes or always no.
three = [(p[:, :3], t[:, :3]) for p, t in marked]
for a in averages:
    for metric, reference in {'AUROC': sk.roc_auc_score, 'AveragePrecision': sk.average_precision_score}.items():
        case(f'labels of both kinds, {a}', metric, three,
             lambda p, t, a=a, f=reference: f(t, p, average=sk_average(a)),
             task='multilabel', num_labels=3, average=a)
for normalize in ('none', 'true', 'pred', 'all'):
    case(f'labels, normalize {normalize}', 'ConfusionMatrix', marked,
         (lambda p, t: sk.multilabel_confusion_matrix(t, half(p))) if normalize == 'none' else None,
         normalize=normalize, **multilabel)
case('labels, ignored', 'ConfusionMatrix', unknown, ignore_index=-1, **multilabel)
case('labels, maps', 'ConfusionMatrix', maps, **multilabel)

for weights in (None, 'linear', 'quadratic'):
    kappa = lambda p, t, w=weights: sk.cohen_kappa_score(t, arg(p) if p.ndim == 2 else p, weights=w)
    case(f'scores, weights {weights}', 'CohenKappa', five, kappa, task='multiclass', num_classes=5, weights=weights)
    case(f'classes, weights {weights}', 'CohenKappa', guesses, kappa, task='multiclass', num_classes=4, weights=weights)
case('binary', 'CohenKappa', two, lambda p, t: sk.cohen_kappa_score(t, half(p)), task='binary')
case('binary, a threshold', 'CohenKappa', two, lambda p, t: sk.cohen_kappa_score(t, p > 0.8), task='binary', threshold=0.8)
case('an ignored label', 'CohenKappa', skipped, task='multiclass', num_classes=4, ignore_index=-1)
case('one class alone', 'CohenKappa', [([1, 1, 1], [1, 1, 1])], task='multiclass', num_classes=3)
case('scores', 'MatthewsCorrCoef', five, lambda p, t: sk.matthews_corrcoef(t, arg(p)), task='multiclass', num_classes=5)
case('classes', 'MatthewsCorrCoef', guesses, lambda p, t: sk.matthews_corrcoef(t, p), task='multiclass', num_classes=4)
case('an ignored label', 'MatthewsCorrCoef', skipped, task='multiclass', num_classes=4, ignore_index=-1)
case('binary', 'MatthewsCorrCoef', two, lambda p, t: sk.matthews_corrcoef(t, half(p)), task='binary')
case('labels', 'MatthewsCorrCoef', marked, lambda p, t: sk.matthews_corrcoef(t.ravel(), half(p).ravel()), **multilabel)
case('never right', 'MatthewsCorrCoef', [([0, 1, 1], [1, 0, 0])], lambda p, t: sk.matthews_corrcoef(t, p), task='binary')
for name, p, t in [('all labels alike', [0, 1, 1], [1, 1, 1]), ('all guesses alike', [0, 0, 0], [0, 1, 0]),
                   ('all alike and right', [1, 1], [1, 1])]:
    case(name, 'MatthewsCorrCoef', [(p, t)], lambda p, t: sk.matthews_corrcoef(t, p), only=True, task='binary')
    case(f'{name}, classes', 'MatthewsCorrCoef', [(p, t)], lambda p, t: sk.matthews_corrcoef(t, p), only=True,
         task='multiclass', num_classes=3)
nan = float('nan')
for strategy in ('ignore', 2.0):
    case(f'NaN, {strategy}', 'MeanMetric', [([1., nan, 4.], [1., 1., 2.]), ([7., 3.], [0.5, nan])], nan_strategy=strategy)

path = os.path.join(os.path.dirname(__file__), '../../test/goldens/metrics/metrics.json')
with open(path, 'w') as file:
    lines = lambda all: ',\n'.join(json.dumps(one) for one in all)
    file.write(f'{{"batches": [\n{lines(shared)}\n],\n"cases": [\n{lines(cases)}\n]}}\n')
print(path, len(cases))
