import { build } from 'esbuild';
import { expect, it } from 'vitest';

/** Names of the source files of the `nn` room that a program holds which imports these names from it. */
async function filesFor(names: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: `export { ${names} } from './src/nn/index.js';`, resolveDir: '.', loader: 'ts' },
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    external: ['node:*', 'webgpu', 'sharp'],
    logLevel: 'error',
  });
  const [{ inputs }] = Object.values(metafile.outputs) as [(typeof metafile.outputs)[string]];
  const held = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return held.flatMap(([path]) => (path.startsWith('src/nn/') ? [path.split('/').at(-1) as string] : []));
}

it('a program of Linear and Sequential holds no other layers', async () => {
  const files = await filesFor('Linear, Sequential');
  expect(files).toContain('fuse.ts');
  for (const layers of ['activation.ts', 'conv.ts', 'norm.ts', 'pooling.ts', 'attention.ts', 'loss.ts'])
    expect(files).not.toContain(layers);
});

it('an activation brings no layer that would take it along', async () => {
  const files = await filesFor('Sequential, ReLU');
  expect(files).toContain('activation.ts');
  for (const layers of ['conv.ts', 'norm.ts']) expect(files).not.toContain(layers);
});
