/** Programs over images, as a PyTorch user would write them from memory. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  autograd,
  cat,
  init,
  manualSeed,
  nn,
  ones,
  optim,
  rand,
  randn,
  tensor,
  zeros,
  type Tensor,
} from '../../src/index.js';

beforeAll(async () => {
  await init();
  manualSeed(0);
});

const block = (from: number, to: number): nn.Sequential =>
  new nn.Sequential(
    new nn.Conv2d(from, to, 3, { padding: 1 }),
    new nn.BatchNorm2d(to),
    new nn.ReLU({ inplace: true }),
  );

class UNet extends nn.Module {
  down1 = block(1, 8);
  pool = new nn.MaxPool2d(2);
  down2 = block(8, 16);
  up = new nn.ConvTranspose2d(16, 8, 2, { stride: 2 });
  up1 = block(16, 8);
  head = new nn.Conv2d(8, 1, 1);

  forward(x: Tensor): Tensor {
    const a = this.down1(x);
    const b = this.down2(this.pool(a));
    return this.head(this.up1(cat([this.up(b), a], 1)));
  }
}

/** Bright squares on noise, and where they are. */
function squares(count: number): [images: Tensor, masks: Tensor] {
  const masks = zeros(count, 1, 16, 16);
  for (let i = 0; i < count; i++)
    masks
      .select(0, i)
      .narrow(1, 2 + i, 6)
      .narrow(2, 8 - i, 6)
      .fill_(1);
  return [masks.add(rand(count, 1, 16, 16).mul(0.5)), masks];
}

describe('a U-Net', () => {
  it('learns masks, with Dice and cross-entropy losses', async () => {
    const net = new UNet();
    const optimizer = new optim.AdamW(net.parameters(), { lr: 0.02 });
    const [images, masks] = squares(4);
    const dice = (p: Tensor): Tensor =>
      p.mul(masks).sum().mul(-2).div(p.sum().add(masks.sum()).add(1e-6)).add(1);
    const losses: number[] = [];
    for (let step = 0; step < 20; step++) {
      optimizer.zeroGrad();
      const logits = net(images);
      const loss = nn.functional.binaryCrossEntropyWithLogits(logits, masks).add(dice(logits.sigmoid()));
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 3);
    const found = net.eval()(images).gt(0);
    const both = found.logicalAnd(masks.bool()).sum();
    const either = found.logicalOr(masks.bool()).sum();
    expect((await both.item()) / (await either.item())).toBeGreaterThan(0.8);
  });
});

class Generator extends nn.Module {
  main = new nn.Sequential(
    new nn.ConvTranspose2d(4, 8, 4, { bias: false }),
    new nn.BatchNorm2d(8),
    new nn.ReLU(),
    new nn.ConvTranspose2d(8, 1, 4, { stride: 2, padding: 1 }),
    new nn.Tanh(),
  );

  forward(z: Tensor): Tensor {
    return this.main(z);
  }
}

class Critic extends nn.Module {
  main = new nn.Sequential(
    new nn.Conv2d(1, 8, 4, { stride: 2, padding: 1 }),
    new nn.LeakyReLU(0.2),
    new nn.Conv2d(8, 1, 4),
    new nn.Flatten(),
  );

  forward(x: Tensor): Tensor {
    return this.main(x).squeeze(1);
  }
}

describe('a DCGAN with gradient penalty', () => {
  it('trains its critic towards gradients of norm 1, and its generator through it', async () => {
    const [generator, critic] = [new Generator(), new Critic()];
    critic.apply((layer) => {
      if (layer instanceof nn.Conv2d) nn.init.normal_(layer.weight, 0, 0.02);
    });
    const betas = [0.5, 0.9] as [number, number];
    const forG = new optim.Adam(generator.parameters(), { lr: 2e-3, betas });
    const forD = new optim.Adam(critic.parameters(), { lr: 1e-2, betas });
    const real = ones(8, 1, 8, 8).mul(tensor([0.8]));
    const penalties: number[] = [];
    for (let step = 0; step < 15; step++) {
      const fake = generator(randn(8, 4, 1, 1));
      forD.zeroGrad();
      const alpha = rand(8, 1, 1, 1);
      const between = alpha.mul(real).add(alpha.neg().add(1).mul(fake.detach())).requiresGrad_();
      const [slope] = autograd.grad(critic(between).sum(), between, { createGraph: true }) as [Tensor];
      const penalty = slope.flatten(1).norm({ dim: 1 }).sub(1).square().mean();
      const loss = critic(fake.detach()).mean().sub(critic(real).mean()).add(penalty.mul(10));
      loss.backward();
      forD.step();
      forG.zeroGrad();
      critic(fake).mean().neg().backward();
      forG.step();
      penalties.push(await penalty.item());
    }
    expect(penalties.at(-1)).toBeLessThan((penalties[0] as number) / 2);
    expect(
      (
        await generator
          .eval()(randn(2, 4, 1, 1))
          .data()
      ).every((value) => Math.abs(value) <= 1),
    ).toBe(true);
  });
});
