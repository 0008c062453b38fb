import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('reference.py', import.meta.url));

/** A Python that has PyTorch, or undefined, with a line that says so. */
export function pythonWithTorch(): string | undefined {
  const candidates = [process.env['KINDLING_PYTHON'], '/usr/bin/python3'].filter(
    (path): path is string => path !== undefined && existsSync(path),
  );
  for (const python of candidates) {
    try {
      execFileSync(python, ['-c', 'import torch'], { stdio: 'ignore' });
      return python;
    } catch {
      // This one has no PyTorch.
    }
  }
  console.warn('skipped: no Python with PyTorch (install python3-torch, or name one in KINDLING_PYTHON)');
  return undefined;
}

export interface PythonTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly hex: string;
  /** Address of the storage. */
  readonly storage: number;
}

export interface PythonDict {
  readonly kind: 'dict' | 'OrderedDict';
  /** Keys by their `repr`. */
  readonly items: [string, PythonTensor | PythonDict | { python: string } | unknown[]][];
}

function call(python: string, ...args: string[]): string {
  const env = { ...process.env, OMP_NUM_THREADS: '2' };
  return execFileSync(python, [script, ...args], { env, encoding: 'utf8', maxBuffer: 2 ** 30 });
}

/** What `torch.load` makes of a file (safetensors: what its specification says). */
export const torchLoad = (python: string, path: string, weightsOnly = false): PythonDict =>
  JSON.parse(call(python, weightsOnly ? 'weights_only' : 'dump', path)) as PythonDict;

/** `torch.save(torch.load(from), to)`; a name with `legacy` in it is written as PyTorch before 1.6 did. */
export const torchResave = (python: string, from: string, to: string): void =>
  void call(python, 'resave', from, to);
