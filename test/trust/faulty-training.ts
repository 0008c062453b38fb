/** A short training in which one call to the device fails, and what became of it. */

import * as k from '../../src/index.js';
import { faultKinds, type FaultKind, type FaultyDevice } from './faulty-device.js';
import {
  chosenCalls,
  inTime,
  outcomeOf,
  unclear,
  type Choice,
  type Course,
  type Outcome,
} from './outcome.js';

const steps = 3;
const shape = [4, 1, 8, 8] as const;

interface Training {
  readonly model: k.nn.TensorModule;
  readonly optimizer: k.optim.Optimizer;
}

export type OptimizerName = 'SGD' | 'AdamW';

function build(name: OptimizerName): Training {
  k.manualSeed(7);
  const model = new k.nn.Sequential(
    new k.nn.Conv2d(1, 4, 3, { padding: 1, bias: false }),
    new k.nn.BatchNorm2d(4),
    new k.nn.ReLU(),
    new k.nn.MaxPool2d(4),
    new k.nn.Flatten(),
    new k.nn.Linear(16, 8),
    new k.nn.ReLU(),
    new k.nn.Linear(8, 3),
  );
  const optimizer =
    name === 'SGD'
      ? new k.optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })
      : new k.optim.AdamW(model.parameters(), { lr: 0.01 });
  return { model, optimizer };
}

async function step({ model, optimizer }: Training, number: number): Promise<number> {
  const loss = k.tidy(() => {
    const values = Float32Array.from({ length: 256 }, (_, i) => Math.sin(i * (number + 1)));
    const x = k.tensor(values).reshape(shape);
    const y = k.tensor([0, 1, 2, number % 3], { dtype: 'int32' });
    optimizer.zeroGrad();
    const result = k.crossEntropy(model(x), y);
    result.backward();
    optimizer.step();
    return result.detach();
  });
  const value = await loss.item();
  loss.dispose();
  return value;
}

/** Everything that a step must change as a whole, as text that is equal only where the bits are. */
async function stateOf({ model, optimizer }: Training): Promise<string> {
  const parts: string[] = [];
  const bits = async (tensor: k.Tensor): Promise<string> => {
    const { buffer, byteOffset, byteLength } = await tensor.data();
    return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
  };
  for (const [name, parameter] of model.namedParameters()) {
    parts.push(`${name} ${await bits(parameter)}`);
    for (const [key, value] of Object.entries(optimizer.state.get(parameter) ?? {}))
      parts.push(`${name}.${key} ${value instanceof k.Tensor ? await bits(value) : JSON.stringify(value)}`);
  }
  return parts.join('\n');
}

/** States after each step of a training that nothing happens to. */
export async function undisturbed(name: OptimizerName): Promise<string[]> {
  await k.init();
  const training = build(name);
  const states = [await stateOf(training)];
  for (let i = 0; i < steps; i++) {
    await step(training, i);
    states.push(await stateOf(training));
  }
  k.close();
  return states;
}

/** The calls of a training that are to fail, by number. */
export const callsOf = (kind: FaultKind, name: OptimizerName, choice: Choice): Promise<number[]> =>
  chosenCalls(kind, choice, async () => {
    const training = build(name);
    for (let i = 0; i < steps; i++) await step(training, i);
  });

/**
 * Trains with the Nth call of a kind failing. An error is caught where a user would, the step is done again
 * as the state says, and the end must be the undisturbed one, bit for bit.
 */
export const disturbed = (
  kind: FaultKind,
  at: number,
  name: OptimizerName,
  states: readonly string[],
): Promise<Outcome> =>
  outcomeOf(kind, at, (device, course) => trainThrough(device, course, kind, name, states));

async function trainThrough(
  device: FaultyDevice,
  course: Course,
  kind: FaultKind,
  name: OptimizerName,
  states: readonly string[],
): Promise<void> {
  const { faults } = course;
  const failed = (error: unknown, where: string): void => noteError(course, error, where);
  try {
    await inTime('init', k.init({ wrapDevice: device.wrap }));
  } catch (error) {
    failed(error, 'init');
    await inTime('init again', k.init());
  }
  let training: Training | null = null;
  for (let tries = 0; training === null && tries < 2; tries++) {
    try {
      training = build(name);
      await inTime('building', k.synchronize());
    } catch (error) {
      failed(error, 'building');
      training = null;
      await restart(kind, device);
    }
  }
  if (training === null) throw new Error('could not build');
  let snapshot = await saved(training).catch((error: unknown) => {
    failed(error, 'the first snapshot');
    return null;
  });
  if (snapshot === null && kind.startsWith('lost')) {
    await restart(kind, device);
    training = build(name);
  }
  snapshot ??= await saved(training);
  let done = 0;
  for (let tries = 0; done < steps && tries < steps + 2; tries++) {
    try {
      await inTime(`step ${done}`, step(training, done));
      done++;
    } catch (error) {
      failed(error, `step ${done}`);
      if (await restart(kind, device)) await k.restore(snapshot, { ...training });
      const now = await inTime('reading the state', stateOf(training));
      const known = states.indexOf(now);
      if (known !== done && known !== done + 1) {
        const between = `between: ${difference(now, states[done]!, states[done + 1]!)}`;
        const what = known < 0 ? between : `that of step ${known}`;
        faults.push(`after the error in step ${done} the state is ${what}`);
        break;
      }
      done = known;
    }
    if (done === steps || faults.length > 0) continue;
    try {
      snapshot = await saved(training);
    } catch (error) {
      failed(error, `the snapshot after step ${done}`);
      if (!(await restart(kind, device))) continue;
      // Back to the last snapshot that there is.
      await k.restore(snapshot, { ...training });
      done = states.indexOf(await stateOf(training));
    }
  }
  if (faults.length === 0) {
    if (done < steps) faults.push(`only ${done} steps could be done`);
    else if ((await stateOf(training)) !== states[steps]) faults.push('the last state is another');
  }
  dispose(training);
  await inTime('the last wait', k.synchronize());
}

/** Notes an error that a user would see: the only one, an Error, and clear. */
function noteError(course: Course, error: unknown, where: string): void {
  if (!(error instanceof Error)) course.faults.push(`${where} threw no Error: ${String(error)}`);
  const text = error instanceof Error ? error.message : String(error);
  if (course.message !== '') course.faults.push(`a second error, in ${where}: ${text}`);
  else course.message = text;
  if (unclear(text)) course.faults.push(`unclear error: ${text}`);
}

function dispose({ model, optimizer }: Training): void {
  for (const [, tensor] of model.namedParameters()) {
    tensor.grad = null;
    for (const value of Object.values(optimizer.state.get(tensor) ?? {}))
      if (value instanceof k.Tensor) value.dispose();
    tensor.dispose();
  }
  for (const [, tensor] of model.namedBuffers()) tensor.dispose();
}

const saved = (training: Training): Promise<k.Snapshot> => inTime('a snapshot', k.snapshot({ ...training }));

/** After a loss: a new device. */
async function restart(kind: FaultKind, device: FaultyDevice): Promise<boolean> {
  if (!kind.startsWith('lost') || !device.fired) return false;
  await inTime('init', k.init());
  return true;
}

function difference(now: string, before: string, after: string): string {
  const [a, b] = [before.split('\n'), after.split('\n')];
  return now
    .split('\n')
    .map((line, i) => `${line.split(' ')[0]} ${line === a[i] ? 'old' : line === b[i] ? 'new' : 'other'}`)
    .join(', ');
}

/** Every fault of every kind, or those chosen. */
export async function* sweepTraining(
  name: OptimizerName,
  choice: Choice = 1,
  kinds: readonly FaultKind[] = faultKinds,
): AsyncGenerator<Outcome> {
  const states = await undisturbed(name);
  for (const kind of kinds) {
    for (const at of await callsOf(kind, name, choice)) yield await disturbed(kind, at, name, states);
  }
}
