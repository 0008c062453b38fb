import { readAll } from '../../formats/device-tensor.js';
import { HostTensor } from '../../formats/host-tensor.js';
import { saveSafetensors, saveTorch } from '../../formats/node-files.js';
import type { TorchValue } from '../../formats/torch-writer.js';
import type { Module } from '../../nn/index.js';
import type { Keeper, Kept } from '../keeper.js';
import type { EpochReport, Progress } from '../progress.js';
import { disposeState } from '../state.js';
import { RunFolderError } from './errors.js';

/** Where a Saver writes. */
export interface SavedTo {
  readonly path: string;
  file(name: 'best' | 'last' | 'state'): string;
  has(name: 'best' | 'state'): boolean;
  /** How far the run has come that is there. */
  readProgress(): Promise<Progress | null>;
  writeHistory(epochs: readonly EpochReport[]): Promise<void>;
  appendHistory(epoch: EpochReport): Promise<void>;
}

/** Seconds after which a state is saved in the middle of an epoch. */
const savedWithinEpoch = 120;

/**
 * Writes a run's checkpoints. state.pth holds what training changes; the frozen rest is the same in every
 * last.safetensors, so that the two together are the training at the moment that state.pth names, whichever
 * epoch last.safetensors is from.
 */
export class Saver implements Keeper {
  private pendingBest: ReadonlyMap<string, HostTensor> | null = null;
  private savedAt = -Infinity;
  private cost = 0;

  constructor(
    private readonly run: SavedTo,
    private readonly training: Kept,
    private readonly metadata: (epochs: readonly EpochReport[]) => Readonly<Record<string, string>>,
  ) {}

  async start(progress: Progress, resumed: boolean): Promise<void> {
    if (!resumed) await this.takeOver(progress);
    if (resumed || progress.epochs.length > 0) await this.run.writeHistory(progress.epochs);
    if (!resumed) await this.save(progress);
  }

  /** @throws RunFolderError where the folder's run would be lost, or the best weights are lost already */
  private async takeOver({ epochs, bestEpoch, sums }: Progress): Promise<void> {
    const { run } = this;
    const there = await run.readProgress();
    const has = (there?.epochs ?? []).map((epoch) => JSON.stringify(epoch));
    const seen = has.length > 0 || (there?.sums.batches ?? 0) > 0;
    const goesOn = has.every((epoch, i) => epoch === JSON.stringify(epochs[i] ?? null));
    if (seen && (!goesOn || epochs.length + sums.batches === 0)) {
      throw new RunFolderError(
        `${run.path}: holds another training of ${has.length} epochs; go on with it (await trainer.resume(folder)), or make the folder anew (RunFolder.create with { force: true })`,
        { problem: 'run' },
      );
    }
    if (bestEpoch === 0 || (goesOn && run.has('best'))) return;
    if (bestEpoch < epochs.length || sums.batches > 0) {
      throw new RunFolderError(
        `${run.path}: the training has gone on since its best epoch, ${bestEpoch}, whose weights were not kept; give \`fit\` the folder from the start`,
      );
    }
    await this.best();
  }

  /** Keeps the weights as the best so far; they are written with the next checkpoint. */
  async best(): Promise<void> {
    this.pendingBest = await copyOf(this.training.saved, this.training.savedKeys);
  }

  async epoch(report: EpochReport, progress: Progress): Promise<void> {
    await this.run.appendHistory(report);
    if (progress.finished || this.isDue) await this.save(progress);
  }

  /** Long epochs are saved in the middle too; what is lost to a kill is minutes at most. */
  async batch(progress: () => Promise<Progress>): Promise<void> {
    if (this.due()) await this.save(await progress());
  }

  due(): boolean {
    return (performance.now() - this.savedAt) / 1000 > savedWithinEpoch;
  }

  interrupted(progress: Progress): Promise<void> {
    return this.save(progress);
  }

  /**
   * Whether it is time for a checkpoint. Where an epoch takes less time than writing one (a head on cached
   * features), some epochs go without, so that writing takes at most a fifth of the time.
   */
  private get isDue(): boolean {
    return performance.now() - this.savedAt >= 4 * this.cost;
  }

  private async save(progress: Progress): Promise<void> {
    const started = performance.now();
    const best = progress.epochs[progress.bestEpoch - 1];
    if (this.pendingBest !== null && best !== undefined) {
      await this.saveWeights('best', this.metadata(progress.epochs.slice(0, best.epoch)), this.pendingBest);
      this.pendingBest = null;
    }
    await this.saveWeights('last', { ...this.metadata(progress.epochs), ...markOf(progress) });
    await this.saveState(progress);
    this.savedAt = performance.now();
    this.cost = this.savedAt - started;
  }

  private async saveWeights(
    name: 'best' | 'last',
    metadata: Record<string, string>,
    override?: ReadonlyMap<string, HostTensor>,
  ): Promise<void> {
    const state = this.training.saved.stateDict();
    try {
      const tensors = new Map([...readAll(state), ...(override ?? [])]);
      await saveSafetensors(this.run.file(name), tensors, { metadata: { format: 'pt', ...metadata } });
    } finally {
      for (const tensor of state.values()) tensor.dispose();
    }
  }

  private async saveState(progress: Progress): Promise<void> {
    const state = this.training.stateAt(progress);
    try {
      await saveTorch(this.run.file('state'), { ...state } as TorchValue);
    } finally {
      disposeState(state);
    }
  }
}

/** Copies of some of a model's tensors on the host. */
async function copyOf(model: Module, keys: ReadonlySet<string>): Promise<ReadonlyMap<string, HostTensor>> {
  const state = model.stateDict();
  const chosen = [...readAll(state)].filter(([key]) => keys.has(key));
  try {
    const bytes = await Promise.all(chosen.map(([, tensor]) => tensor.bytes()));
    return new Map(
      chosen.map(([key, { dtype, shape }], i) => [
        key,
        HostTensor.fromBytes(dtype, shape, bytes[i] ?? new Uint8Array(), { name: key }),
      ]),
    );
  } finally {
    for (const tensor of state.values()) tensor.dispose();
  }
}

/**
 * In last.safetensors: steps that its weights have seen, so that it is known without state.pth whether they
 * are worth keeping.
 */
const markOf = ({ epochs, sums }: Progress): Record<string, string> => ({
  seen: `${epochs.length} epochs, ${sums.batches} batches`,
});
export const seenNothing = '0 epochs, 0 batches';
