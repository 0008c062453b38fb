/** The loop that flat-memory.test.ts watches, written as a PyTorch user would write it. Prints a JSON report. */
import * as k from '../../src/index.js';

const { nn, optim } = k;
const steps = Number(process.argv[2]);

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

await k.init();
k.manualSeed(0);
const model = new Net();
const criterion = new nn.CrossEntropyLoss();
const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
const report = { live: [] as number[], reserved: [] as number[], losses: [] as number[] };

for (let step = 0; step < steps; step++) {
  // Class 1 is brighter on the left.
  const labels = Int32Array.from({ length: 16 }, (_, i) => (i * 7 + step) % 2);
  const pixels = Float32Array.from({ length: 16 * 3 * 256 }, (_, i) => {
    const left = i % 16 < 8;
    return Math.sin(i * 12.9898 + step) * 0.5 + (labels[Math.floor(i / 768)] === 1 && left ? 0.5 : 0);
  });
  const x = k.tensor(pixels, { shape: [16, 3, 16, 16] });
  const y = k.tensor(labels);
  optimizer.zeroGrad();
  const out = model(x);
  const loss = criterion(out, y);
  loss.backward();
  optimizer.step();
  report.losses.push(await loss.item());
  const { liveBytes, reservedBytes } = k.memoryStats();
  report.live.push(liveBytes);
  report.reserved.push(reservedBytes);
}
console.log(JSON.stringify(report));
