import { DeviceLostError, init, runtime } from 'kindling/core';
import { ShapesDataset } from 'kindling/data';
import { encodeSafetensors, loadCheckpoint } from 'kindling/formats';
import { hostStateDict } from 'kindling/models';
import { restore, snapshot, type Snapshot } from 'kindling/optim';
import { Head, type Examples } from './head.js';
import {
  trunks,
  type ClassOfPictures,
  type Confidence,
  type LoadedModel,
  type TrainEvent,
  type TrainRequest,
  type TrainResult,
  type TrunkName,
} from './messages.js';
import { Trunk } from './trunk.js';

/** Of each class, every fourth picture is for judging and not for training. */
const isHeldOut = (index: number): boolean => index % 4 === 3;

/** Pictures that go through the trunk at a time. */
const lookAtOnce = 16;

/** Delivers what happens to the page; waited for, so that nothing arrives after the result. */
type Tell = (event: TrainEvent) => unknown;

/** What `kindling predict` and this page need to know of a file (its metadata, as JSON). */
interface Card {
  readonly model?: string;
  readonly classes?: readonly string[];
}

/**
 * All of the learning. It lives in a worker, so that the page never waits for it. When the device is lost
 * (the driver restarts, the system takes it), what is under way goes on from the last copy on the host.
 */
export class Engine {
  private trunk!: Trunk;
  private trunkCopy!: Snapshot;
  private head: Head | null = null;
  /** The head as it was after its last whole epoch. */
  private headCopy: { readonly state: Snapshot; readonly epoch: number } | null = null;
  private readonly pictures = new Map<number, ImageBitmap>();
  private readonly features = new Map<number, Float32Array>();
  private stopping = false;
  private training = false;
  private recovery: Promise<void> | null = null;

  /** Opens the device and the network that comes with the page; gives the adapter's name. */
  async start(): Promise<string> {
    await init();
    await this.useTrunk(await Trunk.small());
    const { info, target } = runtime();
    const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(' ') || 'WebGPU';
    return target.kind === 'software'
      ? `${name} (software: this browser uses no GPU, so training takes longer)`
      : name;
  }

  add(id: number, picture: ImageBitmap): void {
    this.pictures.set(id, picture);
  }

  remove(id: number): void {
    this.pictures.get(id)?.close();
    this.pictures.delete(id);
    this.features.delete(id);
  }

  /** Drawings of an outline, each with its own colours, texture, place and background. */
  async makePictures(outline: string, count: number, seed: number): Promise<ImageBitmap[]> {
    const sets = (['novel', 'base'] as const).map(
      (classes) => new ShapesDataset({ classes, perClass: count, seed, size: 32 }),
    );
    const set = sets.find(({ classes }) => classes.includes(outline));
    if (!set) throw new Error(`There is no outline '${outline}'.`);
    const first = set.classes.indexOf(outline) * count;
    return Promise.all(
      Array.from({ length: count }, (_, i) => {
        // All of red, then green, then blue; a canvas wants them pixel by pixel.
        const planes = set.bytes(first + i);
        const rgba = new Uint8ClampedArray(32 * 32 * 4).fill(255);
        planes.forEach((value, at) => (rgba[(at % 1024) * 4 + Math.floor(at / 1024)] = value));
        return createImageBitmap(new ImageData(rgba, 32, 32));
      }),
    );
  }

  /** Takes another pretrained network, from a file of torchvision's. The head is a new one then. */
  async loadTrunk(name: TrunkName, file: Blob): Promise<void> {
    await this.useTrunk(await Trunk.fromFile(name, file));
  }

  async train(request: TrainRequest, tell: Tell): Promise<TrainResult> {
    const { classes, epochs, batchSize, learningRate } = request;
    if (this.training) throw new Error('It is being trained already.');
    this.training = true;
    this.stopping = false;
    let last: number | undefined;
    return this.survivingLoss(tell, async () => {
      await this.lookAt(
        classes.flatMap(({ pictures }) => pictures),
        tell,
      );
      const head = await this.headFor(classes.map(({ name }) => name));
      head.setLearningRate(learningRate);
      const training = this.examples(classes, (index) => !isHeldOut(index));
      const heldOut = this.examples(classes, isHeldOut);
      last ??= head.epoch + epochs;
      while (head.epoch < last && !this.stopping) {
        const epoch = await head.trainEpoch(training, heldOut, batchSize);
        await this.copyHead(head);
        await tell(epoch);
      }
      return this.result(head, heldOut.labels.length > 0 ? heldOut : training, heldOut.labels.length > 0);
    }).finally(() => (this.training = false));
  }

  /** Training ends after the epoch that it is at. */
  stop(): void {
    this.stopping = true;
  }

  /** What the head believes of a picture, the most likely class first; null before there is a head. */
  async predict(picture: ImageBitmap): Promise<Confidence[] | null> {
    return this.survivingLoss(
      () => {},
      async () => {
        if (this.head === null) return null;
        const { classes } = this.head;
        const [shares] = await this.head.believe(await this.trunk.look([picture]));
        return classes
          .map((name, i) => ({ name, share: shares?.[i] ?? 0 }))
          .sort((a, b) => b.share - a.share);
      },
    );
  }

  /** The whole network as a safetensors file that `kindling predict --weights` reads, and this page too. */
  async save(): Promise<Uint8Array<ArrayBuffer>> {
    const { head, trunk } = this;
    if (head === null) throw new Error('There is nothing to save before something was trained.');
    return this.survivingLoss(
      () => {},
      async () => {
        const { resize, crop, mean, std } = trunk.input;
        const card = { model: trunk.name, classes: head.classes, input: { resize, size: crop, mean, std } };
        const [state, top] = await Promise.all([hostStateDict(trunk.model), hostStateDict(head.layer)]);
        for (const [name, values] of top) state.set(trunk.headKey(name), values);
        return encodeSafetensors(state, { metadata: { format: 'pt', kindling: JSON.stringify(card) } });
      },
    );
  }

  /** Goes on with what {@link save} wrote. */
  async load(file: File): Promise<LoadedModel> {
    const checkpoint = await loadCheckpoint(file, { name: file.name });
    const text = checkpoint.extra.get('kindling');
    const card = typeof text === 'string' ? (JSON.parse(text) as Card) : {};
    const { model, classes } = card;
    if (!isTrunk(model) || !classes || classes.length < 2)
      throw new Error(`${file.name} was not saved by this page: it does not say which classes it knows.`);
    const trunk = await Trunk.fromFile(model, file);
    const [weight, bias] = await Promise.all(
      ['weight', 'bias'].map(async (name) => {
        const values = await checkpoint.tensors.get(trunk.headKey(name))?.toFloat32Array();
        if (!values) throw new Error(`${file.name} has no ${trunk.headKey(name)}.`);
        return values;
      }),
    );
    await this.useTrunk(trunk);
    this.head = new Head(classes, trunk.features);
    this.head.setValues(weight as Float32Array, bias as Float32Array);
    await this.copyHead(this.head);
    return { trunk: model, classes };
  }

  private async useTrunk(trunk: Trunk): Promise<void> {
    if (this.training) throw new Error('Stop the training first.');
    this.trunkCopy = await snapshot({ model: trunk.model });
    this.trunk?.dispose();
    this.trunk = trunk;
    this.head?.dispose();
    this.head = this.headCopy = null;
    this.features.clear();
  }

  /** Goes on with the head where its classes are the same, else with a new one that keeps what it can. */
  private async headFor(classes: readonly string[]): Promise<Head> {
    const old = this.head;
    if (old !== null && old.classes.join('\n') === classes.join('\n')) return old;
    this.head = old === null ? new Head(classes, this.trunk.features) : await old.forClasses(classes);
    await this.copyHead(this.head);
    old?.dispose();
    return this.head;
  }

  private async copyHead(head: Head): Promise<void> {
    const { epoch } = head;
    this.headCopy = { state: await snapshot(head.parts), epoch };
  }

  /** The features of pictures that were not seen yet. The trunk does not change, so once is enough. */
  private async lookAt(ids: readonly number[], tell: Tell): Promise<void> {
    const unseen = ids.filter((id) => !this.features.has(id));
    for (let at = 0; at < unseen.length && !this.stopping; at += lookAtOnce) {
      await tell({ kind: 'looking', done: at, of: unseen.length });
      const now = unseen.slice(at, at + lookAtOnce);
      const features = await this.trunk.look(now.map((id) => this.pictures.get(id) as ImageBitmap));
      now.forEach((id, i) => this.features.set(id, features[i] as Float32Array));
    }
  }

  private examples(classes: readonly ClassOfPictures[], chosen: (index: number) => boolean): Examples {
    const features: Float32Array[] = [];
    const labels: number[] = [];
    classes.forEach(({ pictures }, label) =>
      pictures.forEach((id, index) => {
        const seen = this.features.get(id);
        if (!chosen(index) || !seen) return;
        features.push(seen);
        labels.push(label);
      }),
    );
    return { features, labels };
  }

  private async result(head: Head, judged: Examples, heldOut: boolean): Promise<TrainResult> {
    const { found } = await head.judge(judged);
    const confusion = head.classes.map(() => head.classes.map(() => 0));
    judged.labels.forEach((label, i) => {
      const row = confusion[label] as number[];
      const column = found[i] as number;
      row[column] = (row[column] ?? 0) + 1;
    });
    return { stopped: this.stopping, classes: head.classes, confusion, heldOut };
  }

  /** Does `work`, and does it again on a new device when the old one was lost meanwhile. */
  private async survivingLoss<T>(tell: Tell, work: () => Promise<T>): Promise<T> {
    for (let losses = 0; ; losses++) {
      try {
        if (runtime().isLost) await (this.recovery ??= this.recover(tell));
        return await work();
      } catch (error) {
        if (!(error instanceof DeviceLostError) || losses === 3) throw error;
      }
    }
  }

  private async recover(tell: Tell): Promise<void> {
    await tell({ kind: 'lost' });
    try {
      await init();
      await restore(this.trunkCopy, { model: this.trunk.model });
      if (this.head && this.headCopy) {
        await restore(this.headCopy.state, this.head.parts);
        this.head.epoch = this.headCopy.epoch;
      }
    } finally {
      this.recovery = null;
    }
    await tell({ kind: 'restored', epoch: this.head?.epoch ?? 0 });
  }
}

function isTrunk(name: string | undefined): name is TrunkName {
  return name !== undefined && name in trunks;
}
