import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { main as featureExtraction } from '../../examples/transfer/01-feature-extraction.js';
import { main as fineTuning } from '../../examples/transfer/02-fine-tuning.js';
import { main as freezeFirstLayers } from '../../examples/transfer/03-freeze-first-layers.js';
import { main as whichParameters } from '../../examples/transfer/04-which-parameters.js';
import { main as requiresGrad } from '../../examples/transfer/05-requires-grad.js';
import { main as vgg } from '../../examples/transfer/06-vgg.js';
import { main as identityHead } from '../../examples/transfer/07-identity-head.js';
import { main as slicing } from '../../examples/transfer/08-slicing.js';
import { main as findingTheHead } from '../../examples/transfer/09-finding-the-head.js';
import { main as customModule } from '../../examples/transfer/10-custom-module.js';
import { main as stagedUnfreezing } from '../../examples/transfer/11-staged-unfreezing.js';
import { main as saveAndResume } from '../../examples/transfer/12-save-and-resume.js';
import { main as inference } from '../../examples/transfer/13-inference.js';
import { main as cachedFeatures } from '../../examples/transfer/14-cached-features.js';
import { main as withTrainer } from '../../examples/transfer/15-trainer.js';
import { pretrained } from '../../examples/transfer/common.js';
import { init, manualSeed, type nn } from '../../src/index.js';
import { full } from '../tooling/full.js';

/** Bytes of the shipped weights, before any recipe touches them. */
let shipped: ReadonlyMap<string, string>;

async function bytesOf(model: nn.Module): Promise<Map<string, string>> {
  const bytes = new Map<string, string>();
  for (const [key, tensor] of model.stateDict())
    bytes.set(key, Buffer.from((await tensor.data()).slice().buffer).toString('base64'));
  return bytes;
}

/** Keys outside the head whose bytes are no longer those of the weight file, without the batch counters. */
async function changed(model: nn.Module): Promise<string[]> {
  const keys: string[] = [];
  for (const [key, bytes] of await bytesOf(model))
    if (!/^fc\.|num_batches/.test(key) && shipped.get(key) !== bytes) keys.push(key);
  return keys;
}

const falls = (losses: readonly number[]): void => {
  expect(losses.length).toBeGreaterThan(1);
  expect(losses.at(-1)).toBeLessThan(0.95 * (losses[0] as number));
};

let lines: string[] = [];
beforeAll(async () => {
  await init();
  shipped = await bytesOf(await pretrained());
});
beforeEach(() => {
  manualSeed(1);
  lines = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  return () => {
    vi.restoreAllMocks();
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('\n')).not.toMatch(/NaN|undefined/);
  };
});

/** Chance is 20 %: there are five classes. */
describe('the transfer recipes', () => {
  it('01 feature extraction leaves the trunk alone, byte for byte', async () => {
    const { model, losses, before, after } = await featureExtraction();
    falls(losses);
    expect(after).toBeGreaterThan(Math.max(0.7, before));
    expect(await changed(model)).toEqual([]);
  });

  it('02 fine-tuning moves every parameter', async () => {
    const { model, losses, after } = await fineTuning();
    falls(losses);
    expect(after).toBeGreaterThan(0.4);
    expect(await changed(model)).toEqual([...shipped.keys()].filter((key) => !/^fc\.|num_batches/.test(key)));
  });

  it('03 freezing the first children leaves those alone, their statistics too', async () => {
    const { model, frozen, losses } = await freezeFirstLayers();
    falls(losses);
    expect(frozen).toEqual(['conv1', 'bn1', 'relu', 'layer1', 'layer2']);
    const children = new Set((await changed(model)).map((key) => key.split('.')[0]));
    expect([...children]).toEqual(['layer3']);
  });

  it('04 an optimizer given everything does what one does that is given what requires grad', async () => {
    const results = await whichParameters();
    expect(results.map(({ name, same }) => [name, same])).toEqual([
      ['RMSprop', true],
      ['SGD', true],
      ['Adam', true],
    ]);
  });

  it('05 requiresGrad is read per parameter', async () => {
    const { start, frozen, headed, trainable, total } = await requiresGrad();
    expect([start.every(Boolean), frozen.some(Boolean), headed.filter(Boolean).length]).toEqual([
      true,
      false,
      2,
    ]);
    expect(headed.slice(-2)).toEqual([true, true]);
    expect([trainable, total]).toEqual([64 * 5 + 5, 74_965]);
  });

  // Half a gigabyte of fresh weights.
  it.runIf(full)('06 VGG trains the last layer of its classifier', async () => {
    const { model, losses, withGrad } = await vgg();
    falls(losses);
    expect(withGrad).toEqual(['classifier.6.weight', 'classifier.6.bias']);
    model.dispose();
  });

  it('07 an identity as the head gives features that tell new classes apart', async () => {
    const { shape, score } = await identityHead();
    expect(shape).toEqual([80, 64]);
    expect(score).toBeGreaterThan(0.6);
  });

  it('08 a slice of the children computes what the model computes up to there', async () => {
    const { vectors, maps, difference, shared } = await slicing();
    expect([vectors, maps]).toEqual([
      [20, 64, 1, 1],
      [20, 64, 8, 8],
    ]);
    expect(difference).toBeLessThan(1e-5);
    expect(shared).toBe(true);
  });

  it('09 the head is found by names and by findHead', async () => {
    const { small, mobile } = await findingTheHead();
    expect(small.children).toEqual(['conv1', 'bn1', 'relu', 'layer1', 'layer2', 'layer3', 'avgpool', 'fc']);
    expect([small.path, small.found, small.replaced]).toEqual(['fc', 'fc', true]);
    expect([mobile.path, mobile.found, mobile.replaced]).toEqual(['classifier.1', 'classifier.1', true]);
    expect(mobile.parameters).toEqual(['classifier.1.weight [1000, 1280]', 'classifier.1.bias [1000]']);
  });

  it('10 a module of pretrained and new halves trains the new one', async () => {
    const { model, losses, after } = await customModule();
    falls(losses);
    expect(after).toBeGreaterThan(0.5);
    expect(await changed(model.backbone)).toEqual([]);
  });

  it('11 staged unfreezing adds a group with its own rate to the schedule', async () => {
    const { model, history, after } = await stagedUnfreezing();
    falls(history.map(({ loss }) => loss));
    expect(after).toBeGreaterThan(0.6);
    expect(history.map(({ trainable }) => trainable)).toEqual([2, 2, 8, 8]);
    const [head = 0, stage = 0] = history[2]?.rates ?? [];
    expect(stage).toBeCloseTo(head / 10, 10);
    expect(history[3]?.rates[1]).toBeLessThan(stage);
    expect((await changed(model)).every((key) => key.startsWith('layer3.'))).toBe(true);
  });

  it('12 a resumed run ends with the same weights, and the best ones come back', async () => {
    const { same, best, restored } = await saveAndResume();
    expect(same).toBe(true);
    expect([restored, restored > 0.5]).toEqual([best, true]);
  });

  it('13 inference names what the images show and records nothing', async () => {
    const { guesses, recorded } = await inference();
    expect(recorded).toBe(0);
    expect(guesses.length).toBe(20);
    expect(guesses.filter(({ shown, guess }) => shown === guess).length).toBeGreaterThanOrEqual(18);
  });

  it('14 cached features train a head that fits the whole network', async () => {
    const { model, losses, after } = await cachedFeatures();
    falls(losses);
    expect(after).toBeGreaterThan(0.7);
    expect(await changed(model)).toEqual([]);
  });

  it('15 a Trainer thaws in stages, writes a run and ends with its best weights', async () => {
    const { model, history, best, accuracy } = await withTrainer();
    falls(history.map(({ loss }) => loss));
    expect(accuracy).toBe(best?.validationAccuracy);
    expect(accuracy).toBeGreaterThan(0.6);
    expect((await changed(model)).every((key) => key.startsWith('layer3.'))).toBe(true);
  });
});
