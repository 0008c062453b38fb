import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import * as k from '../../src/index.js';
import { labels } from './fill.js';
import { ModelGolden, relativeL2, type CifarGolden } from './goldens.js';
import { full } from '../tooling/full.js';
import { checkTraining, describeTorchvision, limits, slow } from './training.js';

const data = process.env['KINDLING_DATA'] ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
const checkpoint = `${data}/cifar_resnet/resnet20-12fca82f.th`;
const testImages = `${data}/cifar10/test_subset.bin`;

beforeAll(() => k.init());

describeTorchvision('resnet18');
// The bottlenecks' gradients are a matter of minutes where nothing is compiled yet.
describeTorchvision('resnet50', { trains: full });

const missing = [checkpoint, testImages].filter((path) => !existsSync(path));
describe.skipIf(missing.length > 0)('the published CIFAR ResNet-20 against PyTorch', () => {
  if (missing.length > 0) {
    console.log(`skipped: CIFAR ResNet-20 (not there: ${missing.join(', ')}; set KINDLING_DATA)`);
    return;
  }
  const golden = new ModelGolden<CifarGolden>('cifar_resnet20');
  const { logits, predictions, correct, training } = golden.json;
  const pixels = 3 * 32 * 32;
  const bytes = readFileSync(testImages);
  const count = bytes.length / (pixels + 1);
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];

  function images(from: number, to: number): k.Tensor {
    const values = new Float32Array((to - from) * pixels);
    for (let n = from; n < to; n++) {
      for (let i = 0; i < pixels; i++) {
        const c = Math.floor(i / 1024);
        values[(n - from) * pixels + i] = (bytes[n * (pixels + 1) + 1 + i]! / 255 - mean[c]!) / std[c]!;
      }
    }
    return k.tensor(values, { shape: [to - from, 3, 32, 32] });
  }

  async function load(): Promise<ReturnType<typeof k.models.cifarResnet20>> {
    const model = k.models.cifarResnet20();
    await k.loadWeights(model, checkpoint);
    return model;
  }

  it('logits and all predictions', { timeout: slow }, async () => {
    const model = await load();
    model.eval();
    let agreeing = 0;
    let right = 0;
    for (let from = 0; from < count; from += 128) {
      const to = Math.min(from + 128, count);
      const got = await k.noGrad(() => model(images(from, to))).data();
      if (from === 0) {
        const error = relativeL2(got.slice(0, 640), golden.slice(logits, 640));
        console.log(`  logits off by ${error.toExponential(1)}`);
        expect(error).toBeLessThan(limits.logits);
      }
      for (let n = from; n < to; n++) {
        const row = Array.from(got.slice((n - from) * 10, (n - from + 1) * 10));
        const best = row.indexOf(Math.max(...row));
        if (best === Number(predictions[n])) agreeing++;
        if (best === bytes[n * (pixels + 1)]) right++;
      }
    }
    expect({ agreeing, right }).toEqual({ agreeing: count, right: correct });
  });

  it('one training step and five of SGD', { timeout: slow }, async () => {
    const model = await load();
    const y = k.tensor(labels('labels', training.batch, 10));
    await checkTraining(model, golden, training, images(0, training.batch), y);
  });
});
