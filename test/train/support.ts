/** A small task: points in the plane, in three classes that a line cannot tell apart. */
import { data, formats, manualSeed, nn, optim, type Tensor } from '../../src/index.js';
import { Trainer, type TrainerOptions } from '../../src/train/index.js';

const points = (
  count: number,
  seed: number,
): data.TensorDataset<readonly [data.HostArray, data.HostArray]> => {
  const random = new data.Random(seed);
  const at = Float32Array.from({ length: 2 * count }, () => 2 * random.float() - 1);
  const label = (i: number): number => {
    const radius = Math.hypot(at[2 * i] as number, at[2 * i + 1] as number);
    return radius < 0.5 ? 0 : radius < 0.85 ? 1 : 2;
  };
  const labels = Int32Array.from({ length: count }, (_, i) => label(i));
  return new data.TensorDataset({ data: at, shape: [count, 2] }, { data: labels, shape: [count] });
};

export const trainPoints = points(40, 1);
export const valPoints = points(30, 2);

export type Loader = data.DataLoader<unknown, [Tensor, Tensor]>;
export const trainLoader = (): Loader =>
  new data.DataLoader(trainPoints, { batchSize: 8, shuffle: true, seed: 5 }) as unknown as Loader;
export const valLoader = (): Loader => new data.DataLoader(valPoints, { batchSize: 10 }) as unknown as Loader;

export function network(): nn.Sequential {
  manualSeed(7);
  return new nn.Sequential(
    new nn.Linear(2, 16),
    new nn.BatchNorm1d(16),
    new nn.ReLU(),
    new nn.Dropout(0.2),
    new nn.Linear(16, 3),
  );
}

type Made = Omit<TrainerOptions, 'model' | 'optimizer'>;

/** A trainer of a fresh network, the same each time. */
export function fresh(options: Made | ((optimizer: optim.Optimizer) => Made) = {}): Trainer {
  const model = network();
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
  return new Trainer({ model, optimizer, ...(typeof options === 'function' ? options(optimizer) : options) });
}

/** All weights and statistics, as text. */
export async function bytesOf(model: nn.Module): Promise<Record<string, string>> {
  const bytes: Record<string, string> = {};
  for (const [key, tensor] of model.stateDict()) {
    bytes[key] = Buffer.from((await tensor.data()).slice().buffer).toString('base64');
    tensor.dispose();
  }
  return bytes;
}

/** Reports without what depends on the clock. */
export const numbers = ({ history }: Trainer): object[] =>
  history.map((report) => ({ ...report, seconds: 0 }));

/** A state through a file and back. */
export async function throughFile(trainer: Trainer): Promise<unknown> {
  const file = await formats.encodeTorch(await trainer.stateDict());
  return formats.loadValue(file);
}
