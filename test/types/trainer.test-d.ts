/** What the compiler must make of Trainer's model, loss and metrics; checked by `npm run typecheck`. */
import { nn, optim, type Tensor } from '../../src/index.js';
import { Accuracy } from '../../src/metrics/index.js';
import { googlenet } from '../../src/models/index.js';
import { evaluate, Trainer, trainStep, type Loader, type TrainBatch } from '../../src/train/index.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const expect = <T extends true>(): T => true as T;

declare const loader: Loader;
declare const batch: TrainBatch;
const { mseLoss, crossEntropy } = nn.functional;
const plain = new nn.Linear(2, 3);
const optimizer = new optim.SGD(plain.parameters(), { lr: 0.1 });

// One tensor in, one out: nothing has to be said.
const usual = new Trainer({ model: plain, optimizer, loss: (out, y) => mseLoss(out, y) });
expect<Equal<typeof usual, Trainer>>();
void usual;
new Trainer({
  model: plain,
  optimizer,
  loss: mseLoss,
  ema: 0.9,
  metrics: { top: new Accuracy({ numClasses: 3 }) },
});
const declared: Trainer = new Trainer({ model: new nn.Sequential(plain), optimizer });
void declared.evaluate(loader, { loss: (out, y) => mseLoss(out, y) });

// Tensors in a list: the loss is given the list.
class Two extends nn.Module {
  readonly a = new nn.Linear(2, 3);
  forward(x: Tensor): [Tensor, Tensor] {
    return [this.a(x), x];
  }
}
const two = new Two();
const pair = new Trainer({
  model: two,
  optimizer,
  loss: ([a, b], y) => crossEntropy(a, y).add(mseLoss(b, y)),
  onEpochStart: () => ({ model: two }),
});
expect<Equal<typeof pair, Trainer<[Tensor, Tensor]>>>();
expect<Equal<ReturnType<typeof pair.model.forward>, [Tensor, Tensor]>>();
void pair;
void evaluate(two, loader, { loss: ([a], y) => crossEntropy(a, y) });
void trainStep(two, optimizer, batch, { loss: ([a], y) => crossEntropy(a, y) });
// @ts-expect-error: a pair is no tensor
new Trainer({ model: two, optimizer, loss: (out: Tensor, y) => mseLoss(out, y) });
const top = new Accuracy({ numClasses: 3 });
new Trainer({
  model: two,
  optimizer,
  loss: ([a], y) => mseLoss(a, y),
  // @ts-expect-error: nor is it one for a metric
  metrics: { top },
});

// Tensors by name: where one is `logits`, metrics are given that.
class Named extends nn.Module {
  readonly a = new nn.Linear(2, 3);
  forward(x: Tensor): { logits: Tensor; mask: Tensor } {
    return { logits: this.a(x), mask: x };
  }
}
new Trainer({
  model: new Named(),
  optimizer,
  loss: ({ logits, mask }, y) => crossEntropy(logits, y).add(mask.mean()),
  metrics: { top: new Accuracy({ numClasses: 3 }) },
});

// Outputs of auxiliary classifiers while it is trained, a tensor when it is evaluated.
const model = await googlenet({ auxLogits: true });
new Trainer({ model, optimizer, metrics: { top: new Accuracy({ numClasses: 3 }) } });
