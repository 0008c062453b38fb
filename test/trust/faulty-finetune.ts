/** A whole `kindling finetune` in which one call to the device fails, and what became of the run. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/cli/run.js';
import { ShapesDataset } from '../../src/data/index.js';
import * as k from '../../src/index.js';
import type { FaultKind, FaultyDevice } from './faulty-device.js';
import {
  chosenCalls,
  inTime,
  outcomeOf,
  unclear,
  type Choice,
  type Course,
  type Outcome,
} from './outcome.js';

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

/** The calls of a run that are to fail, by number. */
export const finetuneCalls = (
  kind: FaultKind,
  choice: Choice,
  { folder, args }: Finetuning,
): Promise<number[]> =>
  chosenCalls(
    kind,
    choice,
    async () => void (await command([...args, '--out', join(folder, 'count'), '--force'])),
  );

/** Notes the one report that a failed run must have made. */
function noteReport(err: string, warnings: Finetuning['warnings'], course: Course): void {
  const isReport = (line: string): boolean => line.startsWith('kindling: ') && !warnings.has(line);
  const lines = err.split('\n').filter(isReport);
  course.message = lines[0] ?? err;
  if (lines.length === 0) course.faults.push(`no error line: ${err}`);
  if (lines.length > 1) course.faults.push(`two reports: ${err}`);
  if (unclear(err)) course.faults.push(`unclear error: ${err}`);
}

async function runThrough(device: FaultyDevice, course: Course, tuning: Finetuning): Promise<void> {
  const out = join(tuning.folder, 'out');
  rmSync(out, { recursive: true, force: true });
  mkdirSync(tuning.folder, { recursive: true });
  const fresh = [...tuning.args, '--out', out];
  try {
    await inTime('init', k.init({ wrapDevice: device.wrap }));
  } catch (error) {
    course.message = (error as Error).message;
  }
  const outcome = course.message === '' ? await command(fresh) : { code: 1, out: '', err: '' };
  course.recovered = outcome.out.includes('the GPU device was lost; a new one goes on from');
  if (course.recovered)
    course.message = outcome.out.split('\n').find((line) => line.includes('device was lost')) ?? '';
  if (outcome.code !== 0) {
    if (course.message === '') noteReport(outcome.err, tuning.warnings, course);
    const started = existsSync(join(out, 'config.json'));
    const again = await command(started ? ['finetune', '--resume', out] : fresh);
    if (again.code !== 0) course.faults.push(`the run cannot go on: ${again.err}`);
  }
  if (course.faults.length === 0 && (await resultOf(out)) !== tuning.want)
    course.faults.push('the run ends with other weights');
}

/** A run that fails must be one that `--resume` brings to the undisturbed end, bit for bit. */
export const disturbedFinetune = (kind: FaultKind, at: number, tuning: Finetuning): Promise<Outcome> =>
  outcomeOf(kind, at, (device, course) => runThrough(device, course, tuning));
