import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Outcome, RegisterState } from './interpret.js';
import { printPython, type Program } from './statements.js';

const script = fileURLToPath(new URL('torch_check.py', import.meta.url));

/** The Python that has PyTorch; null when there is none. */
export function findTorch(): string | null {
  const candidates = [process.env['KINDLING_PYTHON'], '/usr/bin/python3', 'python3'];
  for (const python of candidates) {
    if (python === undefined) continue;
    if (spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) return python;
  }
  return null;
}

interface Answer {
  readonly refused: Outcome['refused'];
  readonly registers: Record<string, RegisterState>;
}

/** A Python process that runs programs in PyTorch, in float64. */
export class Torch {
  private readonly waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  private constructor(
    private readonly process: ChildProcessByStdio<Writable, Readable, null>,
    readonly version: string,
  ) {}

  static async start(python: string): Promise<Torch> {
    const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    const first = await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      child.once('exit', (code) => reject(new Error(`torch_check.py ended with status ${code}`)));
    });
    const torch = new Torch(child, (JSON.parse(first) as { version: string }).version);
    lines.on('line', (line) => torch.waiting.shift()?.resolve(line));
    child.once('exit', (code, signal) => {
      for (const { reject } of torch.waiting)
        reject(new Error(`PyTorch ended with ${signal ?? `status ${code}`}`));
    });
    return torch;
  }

  async run(program: Program): Promise<Outcome> {
    const answer = new Promise<string>((resolve, reject) => this.waiting.push({ resolve, reject }));
    this.process.stdin.write(`${JSON.stringify(program.map(printPython))}\n`);
    const { refused, registers } = JSON.parse(await answer) as Answer;
    return {
      refused,
      registers: new Map(Object.entries(registers).map(([name, state]) => [Number(name), state])),
    };
  }

  stop(): void {
    this.process.stdin.end();
  }
}

const several = new Set(['split', 'chunk', 'unbind']);
const writes = /_$/;
const isWrite = ({ op }: Program[number]): boolean =>
  writes.test(op) && op !== 'requiresGrad_' && op !== 'detach_';

/**
 * What hooks and retained gradients see of tensors that are written in place changed in PyTorch 2.0 (and 1.13
 * crashes on some of it); the reference follows the new rule, and an older PyTorch is no judge of such a
 * program.
 */
export function judgedBy(version: string, program: Program): boolean {
  if (Number(version.split('.')[0]) >= 2) return true;
  const has = (name: string): boolean => program.some(({ op }) => op === name);
  if (!has('hook') && !has('retainGrad')) return true;
  if (has('hook') && has('retainGrad')) return false;
  // 1.13 hands None to what waits for the gradient of one of several views that gets none.
  return !program.some((statement) => isWrite(statement) || several.has(statement.op));
}
