/** A whole `kindling finetune` in which one call to the device fails, and what became of the run. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/run.js';
import { ShapesDataset } from '../../src/data/index.js';
import * as k from '../../src/index.js';
import { FaultyDevice, type FaultKind } from './faulty-device.js';
import { collect, inTime, unclear, type Outcome } from './outcome.js';

/** The data, and the files that an undisturbed run comes to. */
export interface Finetuning {
  readonly folder: string;
  readonly args: readonly string[];
  readonly want: string;
  /** Lines of standard error that the undisturbed run has too: warnings. */
  readonly warnings: ReadonlySet<string>;
}

async function command(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const streams = {
    stdout: { write: (text: string) => void (out += text) },
    stderr: { write: (text: string) => void (err += text) },
  };
  const code = await inTime(`kindling ${args[0]}`, run(args, { streams }));
  return { code, out, err };
}

/** The weights and the history of a run as text, without what is measured in seconds. */
async function resultOf(out: string): Promise<string> {
  const parts: string[] = [];
  for (const name of ['last', 'best']) {
    const { tensors } = await k.loadCheckpoint(join(out, `${name}.safetensors`));
    for (const [key, tensor] of tensors)
      parts.push(`${name}.${key} ${Buffer.from(await tensor.bytes()).toString('base64')}`);
  }
  for (const line of readFileSync(join(out, 'history.jsonl'), 'utf8').trim().split('\n'))
    parts.push(JSON.stringify({ ...(JSON.parse(line) as object), seconds: 0 }));
  return parts.join('\n');
}

export async function prepareFinetuning(): Promise<Finetuning> {
  const folder = mkdtempSync(join(tmpdir(), 'kindling-faults-'));
  const draw = (name: string, perClass: number, seed: number): string => {
    const shapes = new ShapesDataset({ classes: 'novel', perClass, seed });
    const bytes = new Uint8Array(shapes.length * 3073);
    for (let i = 0; i < shapes.length; i++) {
      bytes[i * 3073] = shapes.label(i);
      bytes.set(shapes.bytes(i), i * 3073 + 1);
    }
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const args = [
    ...['finetune', draw('train.bin', 2, 1), '--val', draw('val.bin', 1, 2), '--model', 'cifar_resnet8'],
    ...['--optimizer', 'adamw', '--schedule', 'cosine', '--batch-size', '4', '--epochs', '2', '--seed', '3'],
  ];
  await k.init();
  const out = join(folder, 'undisturbed');
  const { code, err } = await command([...args, '--out', out]);
  if (code !== 0) throw new Error(`the undisturbed run failed: ${err}`);
  const want = await resultOf(out);
  k.close();
  return { folder, args, want, warnings: new Set(err.split('\n')) };
}

export const cleanUp = ({ folder }: Finetuning): void => rmSync(folder, { recursive: true, force: true });

/** How often a run makes the call that a kind of fault counts. */
export async function finetuneCalls(kind: FaultKind, { folder, args }: Finetuning): Promise<number> {
  const device = new FaultyDevice(kind, 0);
  await k.init({ wrapDevice: device.wrap });
  await command([...args, '--out', join(folder, 'count'), '--force']);
  k.close();
  return device.calls;
}

/** A run that fails must be one that `--resume` brings to the undisturbed end, bit for bit. */
export async function disturbedFinetune(kind: FaultKind, at: number, tuning: Finetuning): Promise<Outcome> {
  const faults: string[] = [];
  const unhandled = (reason: unknown): void => void faults.push(`unhandled rejection: ${String(reason)}`);
  process.on('unhandledRejection', unhandled);
  const device = new FaultyDevice(kind, at);
  const out = join(tuning.folder, 'out');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(tuning.folder, { recursive: true });
  let [message, recovered] = ['', false];
  try {
    try {
      await inTime('init', k.init({ wrapDevice: device.wrap }));
    } catch (error) {
      message = (error as Error).message;
    }
    let outcome =
      message === '' ? await command([...tuning.args, '--out', out]) : { code: 1, out: '', err: '' };
    recovered = outcome.out.includes('the GPU device was lost; a new one goes on from');
    if (recovered) message = outcome.out.split('\n').find((line) => line.includes('device was lost')) ?? '';
    if (outcome.code !== 0) {
      if (message === '') {
        const isReport = (line: string): boolean =>
          line.startsWith('kindling: ') && !tuning.warnings.has(line);
        const lines = outcome.err.split('\n').filter(isReport);
        message = lines[0] ?? outcome.err;
        if (lines.length === 0) faults.push(`no error line: ${outcome.err}`);
        if (lines.length > 1) faults.push(`two reports: ${outcome.err}`);
        if (unclear(outcome.err)) faults.push(`unclear error: ${outcome.err}`);
      }
      const started = existsSync(join(out, 'config.json'));
      outcome = await command(started ? ['finetune', '--resume', out] : [...tuning.args, '--out', out]);
      if (outcome.code !== 0) faults.push(`the run cannot go on: ${outcome.err}`);
    }
    if (faults.length === 0 && (await resultOf(out)) !== tuning.want)
      faults.push('the run ends with other weights');
    await collect();
    const { liveBuffers, largest } = k.memoryStats();
    if (liveBuffers > 0)
      faults.push(`leaked ${liveBuffers} buffers: ${largest.map(({ label }) => label).join(', ')}`);
  } catch (error) {
    faults.push(
      `did not recover: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  } finally {
    k.close();
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off('unhandledRejection', unhandled);
  }
  const result =
    faults.length > 0 ? 'broken' : recovered ? 'recovered' : message === '' ? 'no error' : 'clean error';
  return { kind, at, fired: device.fired, result, message, faults };
}
