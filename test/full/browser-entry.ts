import * as k from '../../src/index.js';

const { nn, optim } = k;

/** Five training steps of a small network from a fixed seed. */
export async function train(): Promise<{ adapter: string; losses: number[] }> {
  await k.init();
  k.manualSeed(7);
  const model = new nn.Sequential(
    new nn.Conv2d(3, 8, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: 1, stride: 2 }),
    new nn.GELU(),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Dropout(0.1),
    new nn.Linear(16, 4),
  );
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const x = k.randn(16, 3, 16, 16);
  const y = k.randint(0, 4, [16]);
  const losses: number[] = [];
  for (let step = 0; step < 5; step++) {
    optimizer.zeroGrad();
    const loss = k.crossEntropy(model(x), y);
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return { adapter: JSON.stringify(k.runtime().info), losses };
}
