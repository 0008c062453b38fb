/** `kindling export`: a run's weights as an ONNX file. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { init, manualSeed, models, saveWeights } from '../../src/index.js';
import { infoOf, readModel } from '../onnx/read.js';
import { kindling, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const weights = join(folder, 'resnet8.safetensors');

beforeAll(async () => {
  await init();
  manualSeed(3);
  await saveWeights(models.cifarResnet8({ numClasses: 4 }), weights);
});

const named = ['--model', 'cifar_resnet8'];

describe('kindling export', () => {
  it('writes the model with what its images must look like, for any number of them', async () => {
    const to = join(folder, 'any.onnx');
    const { code, stdout, stderr } = await kindling(['export', weights, to, ...named]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('input (float32, batch x 3 x 32 x 32) -> logits (4 classes)');
    const { graph, metadataProps = [] } = readModel(readFileSync(to));
    expect([...graph.input, ...graph.output].map(infoOf)).toEqual([
      'input: float32[batch,3,32,32]',
      'logits: float32[batch,4]',
    ]);
    const metadata = Object.fromEntries(metadataProps.map(({ key, value }) => [key, value]));
    expect(metadata['model']).toBe('cifar_resnet8');
    expect(JSON.parse(metadata['input']!)).toMatchObject({ size: 32, mean: [expect.any(Number), expect.any(Number), expect.any(Number)] }); // prettier-ignore
  });

  it('takes a number of images, their size and a version, and prints one JSON document', async () => {
    const to = join(folder, 'fixed.onnx');
    const options = ['--batch-size', '2', '--size', '40', '--opset', '18', '--json'];
    const { stdout } = await kindling(['export', weights, to, ...named, ...options]);
    expect(JSON.parse(stdout)).toEqual({
      model: 'cifar_resnet8',
      weights,
      to,
      bytes: statSync(to).size,
      opset: 18,
      input: { name: 'input', shape: [2, 3, 40, 40] },
      output: { name: 'logits', classes: 4 },
    });
    const { graph, opsetImport } = readModel(readFileSync(to));
    expect([infoOf(graph.input[0]!), opsetImport[0]!.version]).toEqual(['input: float32[2,3,40,40]', 18]);
  });

  it('writes the weights into a second file on request, and says both', async () => {
    const to = join(folder, 'apart.onnx');
    const { stdout } = await kindling(['export', weights, to, ...named, '--external-data']);
    expect(stdout).toContain(`${to}.data: the weights, `);
    const [model, data] = [to, `${to}.data`].map((path) => statSync(path).size) as [number, number];
    expect(model).toBeLessThan(data);
    const again = await kindling(['export', weights, to, ...named, '--external-data', '--force', '--json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ bytes: model, data: { to: `${to}.data`, bytes: data } });
  });

  it.each<[string, readonly string[], number, string]>([
    ['another ending', [weights, 'model.pth', ...named], 2, "an ONNX file's name ends in .onnx"],
    ['a model that nobody says', [weights, join(folder, 'a.onnx')], 2, '--model is missing'],
    [
      'a file that is there',
      [weights, join(folder, 'any.onnx'), ...named],
      1,
      'is there already; --force replaces it',
    ],
    [
      'an operator set that is not',
      [weights, join(folder, 'b.onnx'), ...named, '--opset', '9'],
      1,
      'must be 17 to 21',
    ],
    [
      'weights of another model',
      [weights, join(folder, 'b.onnx'), '--model', 'alexnet'],
      1,
      'resnet8.safetensors',
    ],
  ])('refuses %s', async (_, args, code, message) => {
    const outcome = await kindling(['export', ...args]);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(message);
    expect(existsSync(join(folder, 'b.onnx'))).toBe(false);
  });
});
