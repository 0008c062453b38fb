/** What the long plain loops train: a small network, and pictures that it can learn. */
import * as k from '../../src/index.js';

const { nn, optim } = k;

class Net extends nn.Module {
  features = new nn.Sequential(
    new nn.Conv2d(3, 8, 3, { padding: 1 }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.AdaptiveAvgPool2d(1),
  );
  head = new nn.Linear(16, 2);

  forward(x: k.Tensor): k.Tensor {
    return this.head(this.features(x).flatten(1));
  }
}

export interface Parts {
  readonly model: Net;
  readonly criterion: InstanceType<typeof nn.CrossEntropyLoss>;
  readonly optimizer: k.optim.SGD;
}

export function parts(): Parts {
  k.manualSeed(0);
  const model = new Net();
  return {
    model,
    criterion: new nn.CrossEntropyLoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 }),
  };
}

/** The batch of a step: [batch, 3, side, side] and its labels. Class 1 is brighter on the left. */
export function batchOf(step: number, batch: number, side: number): { x: k.Tensor; y: k.Tensor } {
  const labels = Int32Array.from({ length: batch }, (_, i) => (i * 7 + step) % 2);
  const area = side * side;
  const pixels = Float32Array.from({ length: batch * 3 * area }, (_, i) => {
    const left = i % side < side / 2;
    return Math.sin(i * 12.9898 + step) * 0.5 + (labels[Math.floor(i / (3 * area))] === 1 && left ? 0.5 : 0);
  });
  return { x: k.tensor(pixels, { shape: [batch, 3, side, side] }), y: k.tensor(labels) };
}
