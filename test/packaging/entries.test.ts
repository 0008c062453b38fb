/**
 * The entries of the package: what each exports, and that it does its work when a bundler leaves out what is
 * unused.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as esbuild from 'esbuild';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { sizes, table } from '../../scripts/sizes.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string; default: string }>;
};
const entries = Object.entries(exports)
  .filter(([path]) => !path.endsWith('.json'))
  .map(([path, files]) => ({ name: path.replace(/^\./, 'kindling'), ...files }));

async function namesOf(entry: string): Promise<string[]> {
  const file = entries.find(({ name }) => name === entry)?.default ?? '';
  return Object.keys((await import(pathToFileURL(join(root, file)).href)) as object).sort();
}

beforeAll(() => void build());

describe('the entries', () => {
  it('export what is meant for users, under the names reviewed here', async () => {
    const core = await namesOf('kindling/core');
    const list = async (name: string): Promise<string> => {
      const names = await namesOf(name);
      const all = name !== 'kindling/core' && core.every((each) => names.includes(each));
      const own = all ? ['(all of kindling/core)', ...names.filter((each) => !core.includes(each))] : names;
      return [name, ...own.map((each) => `  ${each}\n`)].join('\n').replaceAll('\n\n', '\n');
    };
    const lists = await Promise.all(entries.map(({ name }) => list(name)));
    await expect(lists.join('\n')).toMatchFileSnapshot('exports.txt');
  });

  it('export nothing internal: their types, from which that is stripped, have the same names', async () => {
    const program = ts.createProgram(
      entries.map(({ types }) => join(root, types)),
      { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, types: [] },
    );
    const checker = program.getTypeChecker();
    const valueOf = (symbol: ts.Symbol): ts.Symbol =>
      symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    for (const { name, types } of entries) {
      const source = checker.getSymbolAtLocation(program.getSourceFile(join(root, types)) as ts.SourceFile);
      const typed = checker
        .getExportsOfModule(source as ts.Symbol)
        .filter((symbol) => valueOf(symbol).flags & ts.SymbolFlags.Value)
        .map((symbol) => symbol.name);
      expect(await namesOf(name), name).toEqual(typed.sort());
    }
  });
});

/** Programs and what they print. */
const programs: Record<string, readonly [code: string, output: string]> = {
  core: [
    `import { backward, init, matmul, sum, tensor, Tensor } from 'kindling/core';
     await init();
     const w = tensor([[2], [3]], { requiresGrad: true });
     backward(sum(matmul(tensor([[1, 4]]), w)));
     console.log(await w.grad.toArray(), 'add' in Tensor.prototype);`,
    '[ [ 1 ], [ 4 ] ] false',
  ],
  'core without a backward pass': [
    `import { init, mul_, relu6, tensor } from 'kindling/core';
     await init();
     const y = relu6(tensor([1, 8], { requiresGrad: true }));
     console.log(await mul_(y, 2).toArray());`,
    '[ 2, 12 ]',
  ],
  'nn, nn/functional, optim, utils and profiler': [
    `import { backward, init, mean, ones, tensor } from 'kindling/core';
     import { Linear, Sequential, Tanh } from 'kindling/nn';
     import { mseLoss } from 'kindling/nn/functional';
     import { SGD } from 'kindling/optim';
     import { profile } from 'kindling/profiler';
     import { checkpoint } from 'kindling/utils';
     await init();
     const net = new Sequential(new Linear(2, 2), new Tanh());
     const step = new SGD(net.parameters(), { lr: 0.5 });
     const losses = [];
     const train = async () => {
       for (let i = 0; i < 20; i++) {
         step.zeroGrad();
         const loss = mseLoss(checkpoint(net, ones(1, 2)), tensor([[0.5, -0.5]]));
         backward(loss);
         step.step();
         losses.push(await mean(loss).item());
       }
     };
     const { rows } = await profile(train);
     console.log(losses.at(-1) < losses[0] / 2, rows.length > 0);`,
    'true true',
  ],
  amp: [
    `import { backward, init, sum, matmul, ones } from 'kindling/core';
     import { autocast, GradScaler } from 'kindling/amp';
     import { SGD } from 'kindling/optim';
     await init();
     const w = ones([2, 2], { requiresGrad: true });
     const scaler = new GradScaler({ initScale: 4 });
     const y = autocast({}, () => matmul(ones([1, 2]), w));
     backward(scaler.scale(sum(y)));
     await scaler.step(new SGD([w], { lr: 0.5 }));
     await scaler.update();
     console.log(y.dtype, await w.toArray());`,
    'float16 [ [ 0.5, 0.5 ], [ 0.5, 0.5 ] ]',
  ],
  'autograd and data': [
    `import { init, tensor } from 'kindling/core';
     import { Function, backward } from 'kindling/autograd';
     import { ConcatDataset, DataLoader, TensorDataset } from 'kindling/data';
     import { CenterCrop } from 'kindling/data/transforms';
     class Triple extends Function {
       static forward(ctx, x) { return tensor([6]); }
       static backward(ctx, grad) { return tensor([3]); }
     }
     await init();
     const x = tensor([2], { requiresGrad: true });
     backward(Triple.apply(x));
     const set = new TensorDataset(tensor([1, 2, 3]));
     console.log(await x.grad.item(), new ConcatDataset([set, set]).length, typeof DataLoader, new CenterCrop(2).size);`,
    '3 6 function 2',
  ],
  metrics: [
    `import { init, tensor } from 'kindling/core';
     import { Accuracy, AUROC, ConfusionMatrix, MetricCollection } from 'kindling/metrics';
     await init();
     const of = { numClasses: 2 };
     const all = { accuracy: new Accuracy(of), matrix: new ConfusionMatrix(of), auroc: new AUROC(of) };
     const scores = new MetricCollection(all);
     scores.update(tensor([[3, -1], [0, 2], [1, 0]]), tensor([0, 1, 1], { dtype: 'int32' }));
     console.log(JSON.stringify(await scores.compute()));`,
    '{"accuracy":0.6666666666666666,"matrix":[[1,0],[1,1]],"auroc":1}',
  ],
  tensorboard: [
    `import { init, tensor } from 'kindling/core';
     import { SummaryEncoder } from 'kindling/tensorboard';
     await init();
     const sizes = [];
     const log = new SummaryEncoder((record) => sizes.push(record.length));
     log.addScalar('loss', tensor(0.5), 3);
     await log.close();
     console.log(sizes.join());`,
    '40,42',
  ],
  'models and formats': [
    `import { init } from 'kindling/core';
     import { cifarResnet8, hostStateDict, loadWeights } from 'kindling/models';
     import { encodeNpz, encodeSafetensors, encodeTorch } from 'kindling/formats';
     await init();
     const model = cifarResnet8();
     const state = await hostStateDict(model);
     for (const bytes of [await encodeSafetensors(state), await encodeTorch(state), await encodeNpz(state)]) {
       const { missingKeys, checkpoint } = await loadWeights(model, bytes);
       console.log(checkpoint.container, missingKeys.length);
     }`,
    'safetensors 0\ntorch-zip 0\nnpz 0',
  ],
  'train, train/node': [
    `import { init } from 'kindling/core';
     import { Linear } from 'kindling/nn';
     import { mseLoss } from 'kindling/nn/functional';
     import { DataLoader, TensorDataset } from 'kindling/data';
     import { Adam } from 'kindling/optim';
     import { Trainer } from 'kindling/train';
     import { RunFolder } from 'kindling/train/node';
     await init();
     const column = (data) => ({ data: Float32Array.from(data), shape: [data.length, 1] });
     const loader = new DataLoader(new TensorDataset(column([1, 2, 3]), column([2, 4, 6])), { batchSize: 2 });
     const model = new Linear(1, 1);
     const trainer = new Trainer({ model, optimizer: new Adam(model.parameters(), { lr: 0.05 }), loss: mseLoss });
     await trainer.fit(loader, { epochs: 30, validation: loader });
     console.log(trainer.history.length, trainer.history[29].validationLoss < trainer.history[0].validationLoss);
     await RunFolder.open('/no/such/run').catch((error) => console.log(error.message));`,
    '30 true\n/no/such/run: no such folder',
  ],
  kindling: [
    `import { init, tensor } from 'kindling';
     await init();
     const x = tensor([1, 2], { requiresGrad: true });
     x.add(1).mul(x).sum().backward();
     console.log(await x.grad.toArray());`,
    '[ 3, 5 ]',
  ],
  onnx: [
    `import { init, ones } from 'kindling/core';
     import { Linear } from 'kindling/nn';
     import { exportOnnx } from 'kindling/onnx';
     await init();
     console.log(Buffer.from(await exportOnnx(new Linear(2, 2), ones(1, 2))).includes('Gemm'));`,
    'true',
  ],
  node: [`import { imageExtensions } from 'kindling/node'; console.log(imageExtensions.length > 0);`, 'true'],
};

describe('a bundle with nothing unused in it', () => {
  it.each(Object.entries(programs))('runs: %s', async (name, [code, output]) => {
    // Below the root, where Node finds `webgpu`.
    const folder = join(root, 'node_modules/.cache/kindling/bundles', name.replace(/\W+/g, '-'));
    mkdirSync(folder, { recursive: true });
    await esbuild.build({
      stdin: { contents: code, resolveDir: root },
      outdir: folder,
      bundle: true,
      minify: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      external: ['webgpu', 'sharp'],
      outExtension: { '.js': '.mjs' },
    });
    const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'stdin.mjs')], { encoding: 'utf8' });
    expect(stdout.trim(), stderr).toBe(output);
  });
});

it('training needs nothing of Node: only its folders do', async () => {
  const bundle = (entry: string): Promise<esbuild.BuildResult<{ metafile: true }>> =>
    esbuild.build({
      stdin: { contents: `export * from '${entry}';`, resolveDir: root },
      ...{ bundle: true, write: false, metafile: true, logLevel: 'silent' },
      ...{ outdir: root, splitting: true, format: 'esm', platform: 'browser' },
    });
  const { metafile } = await bundle('kindling/train');
  const inputs = Object.keys(metafile.inputs);
  expect(inputs.some((path) => path.endsWith('dist/train/trainer.js'))).toBe(true);
  expect(inputs.filter((path) => /dist\/(train\/node|cli)\//.test(path))).toEqual([]);
  await expect(bundle('kindling/train/node')).rejects.toThrow(/Could not resolve "node:fs"/);
});

it('programs cost a browser no more than bench/size-budget.json allows', async () => {
  const rows = await sizes();
  console.log(table(rows));
  expect(rows.filter(({ bytes, measured }) => measured > bytes)).toEqual([]);
});
