/**
 * Compares every model that torchvision has too with PyTorch: `npx tsx scripts/parity/run.ts [name ...]`
 *
 * Per model, PyTorch (make_weights.py, run by $PYTHON, default python3) writes one random state dict as a zip
 * and as a legacy `.pth`; kindling loads each, computes the logits of one image of the model's real size in
 * evaluation mode, and counts parameters and multiply-adds. The results go to docs/models.md as a table; rows
 * of models that were not named stay. Files are temporary, one model's at a time (up to 5 GB for the
 * largest). It takes about an hour on two cores. Exits with 1 when an error is over the limit or a count
 * differs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { close, init, loadWeights, models, noGrad, runtime, tensor } from '../../src/index.js';

const limit = 1e-4;
const page = fileURLToPath(new URL('../../docs/models.md', import.meta.url));
const python = process.env['PYTHON'] ?? 'python3';

interface Published {
  readonly model: string;
  readonly name: string;
  readonly gflops: number;
  readonly transforms: { readonly crop: number };
}

const manifest = JSON.parse(
  readFileSync(new URL('../../weights/manifest.json', import.meta.url), 'utf8'),
) as { readonly weights: readonly Published[] };

interface Reference {
  readonly parameters: number;
  readonly sensitivity: number;
  readonly float32: number;
}

function reference(name: string, size: number, folder: string): Reference {
  const script = fileURLToPath(new URL('make_weights.py', import.meta.url));
  const run = spawnSync(python, [script, name, String(size), folder], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`${name}: ${python} failed\n${run.stderr}`);
  return JSON.parse(run.stdout.trim().split('\n').at(-1) ?? '') as Reference;
}

function floats(path: string): Float32Array {
  const file = readFileSync(path);
  return new Float32Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
}

function relativeL2(got: ArrayLike<number>, want: Float32Array): number {
  let [off, size] = [0, 0];
  want.forEach((value, i) => {
    off += ((got[i] ?? NaN) - value) ** 2;
    size += value ** 2;
  });
  return Math.sqrt(off / size);
}

interface Row {
  readonly cells: readonly string[];
  readonly ok: boolean;
}

async function compare(name: string): Promise<Row> {
  // Weights of one model may be for several sizes: 224, or 384 where that is what fine-tuning ended with.
  const [published] = manifest.weights
    .filter((entry) => entry.model === name)
    .sort((a, b) => a.transforms.crop - b.transforms.crop);
  const size = published?.transforms.crop ?? models.get(name).input.crop;
  const folder = mkdtempSync(join(tmpdir(), 'kindling-parity-'));
  try {
    const want = reference(name, size, folder);
    const logits = floats(join(folder, 'logits.bin'));
    const x = tensor(floats(join(folder, 'input.bin')), { shape: [1, 3, size, size] });
    const errors: number[] = [];
    let [parameters, multiplyAdds] = [0, 0];
    for (const file of ['zip.pth', 'legacy.pth']) {
      const model = runtime().withoutWork(() => models.get(name)());
      await loadWeights(model, join(folder, file));
      model.eval();
      const y = noGrad(() => model(x));
      errors.push(relativeL2(await y.data(), logits));
      y.dispose();
      parameters = model.parameters().reduce((sum, p) => sum + p.numel(), 0);
      multiplyAdds = model.summary([1, 3, size, size]).totals.multiplyAdds;
      model.dispose();
    }
    x.dispose();
    const gflops = (multiplyAdds / 1e9).toFixed(3);
    const sameCount = published === undefined || Math.abs(Number(gflops) - published.gflops) < 0.0015;
    console.log(
      `${name} ${size}: ${errors.map((e) => e.toExponential(1)).join(' ')}, parameters ${parameters} of ` +
        `${want.parameters}, ${gflops} of ${published?.gflops ?? '?'} G multiply-adds, another image moves the logits ` +
        `by ${want.sensitivity.toExponential(1)}, PyTorch is off by ${want.float32.toExponential(1)}`,
    );
    return {
      cells: [
        name,
        String(size),
        parameters.toLocaleString('en-US'),
        gflops,
        String(published?.gflops ?? ''),
        ...[...errors, want.float32].map((error) => error.toExponential(1)),
      ],
      ok: errors.every((error) => error < limit) && parameters === want.parameters && sameCount,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const heading = `# Models

Every model against torchvision (\`npx tsx scripts/parity/run.ts\`): PyTorch writes a random state dict as a zip and as a legacy
\`.pth\`; kindling loads each and computes the logits of one random image of the stated size in evaluation mode. Errors are
relative L2 distances to PyTorch's float32 logits, on Mesa's software adapter; beside them is how far those are from PyTorch's
float64 logits. Multiply-adds are those of
\`model.summary()\`, in billions; beside them is what torchvision publishes. Parameters equal torchvision's in every row.

Beside these the zoo has the ResNets for 32 x 32 images of the paper's section 4.2 (https://arxiv.org/abs/1512.03385), which torchvision has not;
parameters and multiply-adds are \`cifar_resnet8\` 75,290 and 0.012 G, \`cifar_resnet20\` 269,722 and 0.041 G, \`cifar_resnet32\` 464,154 and 0.069 G,
\`cifar_resnet44\` 658,586 and 0.097 G, \`cifar_resnet56\` 853,018 and 0.125 G, \`cifar_resnet110\` 1,727,962 and 0.253 G.

| model | size | parameters | multiply-adds (G) | torchvision's (G) | error, zip | error, legacy | PyTorch's own |
|---|---|---|---|---|---|---|---|
`;

function writePage(rows: ReadonlyMap<string, readonly string[]>): void {
  const lines = models
    .list()
    .map((name) => rows.get(name))
    .filter((cells) => cells !== undefined)
    .map((cells) => `| ${cells.join(' | ')} |\n`);
  writeFileSync(page, heading + lines.join(''));
}

const rows = new Map<string, readonly string[]>();
if (existsSync(page)) {
  for (const line of readFileSync(page, 'utf8')
    .split('\n')
    .slice(heading.split('\n').length - 1)) {
    const cells = line.split('|').map((cell) => cell.trim());
    if (cells.length > 2) rows.set(cells[1] as string, cells.slice(1, -1));
  }
}

await init();
const named = process.argv.slice(2);
const failed: string[] = [];
const ofTorchvision = (name: string): boolean => models.get(name).origin === 'torchvision';
for (const name of named.length > 0 ? named : models.list().filter(ofTorchvision)) {
  try {
    const { cells, ok } = await compare(name);
    if (!ok) failed.push(name);
    rows.set(name, cells);
    writePage(rows);
  } catch (error) {
    failed.push(name);
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
close();
if (failed.length > 0) {
  console.error(`not as in PyTorch: ${failed.join(', ')}`);
  process.exitCode = 1;
}
