import { checkCount, isPlainObject, noMore, readOptions } from '../tensor/options.js';
import { showShape } from '../tensor/shape.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { histogramOf } from './histogram.js';
import { checkImage, pixelsOf, type BatchFormat, type DataFormat } from './image.js';
import {
  eventOf,
  fileVersion,
  histogramContent,
  hparamContents,
  imageContent,
  prCurveContent,
  scalarContent,
  sessionStart,
  textContent,
  type Content,
} from './messages.js';
import { encodePng } from './png.js';
import { prCurveOf } from './pr-curve.js';
import { recordOf } from './record.js';
import type { HparamValue } from './types.js';

/**
 * Takes whole records, in order, for the end of a run's file.
 *
 * @param run '' or the name of a run beside the main one (of `addScalars`, `addHparams`): a folder in the
 * main one's, with a file of its own
 */
export type RecordSink = (record: Uint8Array, run: string) => void;

export interface EncoderOptions {
  /** Steps from this one on that earlier files of the run have are void: a run goes on from a checkpoint. */
  purgeStep?: number | null;
}

/** What all events may be told. */
export interface EventOptions {
  /** When it happened, in seconds since 1970. Default: now. */
  walltime?: number | null;
}

export interface ImageOptions extends EventOptions {
  /** Default 'CHW'. */
  dataformats?: DataFormat;
}

export interface ImagesOptions extends EventOptions {
  /** Default 'NCHW'. */
  dataformats?: BatchFormat;
}

export interface PrCurveOptions extends EventOptions {
  /** Points of the curve, 2 to 127, which are most that TensorBoard shows. Default 127. */
  numThresholds?: number;
  /** How much each sample counts. Default: all alike. */
  weights?: Tensor | ArrayLike<number> | null;
}

/** Numbers on the host; those of a list as they are at the call. */
const listOf = (values: Tensor | ArrayLike<number>): ArrayLike<number> | Promise<ArrayLike<number>> =>
  isTensor(values) ? values.data() : values instanceof Float32Array ? values.slice() : Array.from(values);

const lengthOf = (values: unknown): number | undefined =>
  isTensor(values) ? values.numel() : (values as Partial<ArrayLike<number>> | null | undefined)?.length;

/** In seconds since 1970. */
const now = (): number => Date.now() / 1000;

/**
 * What `SummaryWriter` writes, handed on as bytes: in a browser, or to go elsewhere.
 *
 * ```ts
 * const chunks: Uint8Array[] = [];
 * const log = new SummaryEncoder((record) => chunks.push(record));
 * log.addScalar('loss', loss, step);
 * await log.flush();
 * const file = new Blob(chunks); // save it as events.out.tfevents.1
 * ```
 *
 * Values in tensors are read behind everything recorded so far, without waiting; events keep their order.
 * What goes wrong on the way is thrown by the next call, `flush` or `close`.
 */
export class SummaryEncoder {
  protected readonly name: string = 'SummaryEncoder';
  private readonly started = new Set<string>();
  private readonly purgeStep: number | null;
  /** Events whose values are being read, and those behind them. */
  private tail: Promise<void> | null = null;
  private failure: { readonly error: unknown } | null = null;
  private closed = false;

  constructor(
    private readonly sink: RecordSink,
    options?: EncoderOptions,
  ) {
    noMore(new.target.name, arguments, 2);
    const { purgeStep } = readOptions<Required<EncoderOptions>>(
      'SummaryWriter',
      { purgeStep: null },
      options,
    );
    if (purgeStep !== null && !Number.isSafeInteger(purgeStep))
      throw new Error(`SummaryWriter: purgeStep must be an integer, got ${String(purgeStep)}`);
    this.purgeStep = purgeStep;
  }

  /** A number over steps. @param value a number, or a tensor of one element */
  addScalar(tag: string, value: number | Tensor, step = 0, options?: EventOptions): void {
    const time = this.timeOf('addScalar', arguments.length, options);
    this.addNumber('addScalar', '', tag, value, step, time);
  }

  /**
   * Several numbers in one chart. Each is a run of its own, called by `mainTag` and its key, as PyTorch has
   * it.
   */
  addScalars(
    mainTag: string,
    values: Readonly<Record<string, number | Tensor>>,
    step = 0,
    options?: EventOptions,
  ): void {
    const where = `${this.name}.addScalars`;
    const time = this.timeOf('addScalars', arguments.length, options);
    if (!isPlainObject(values))
      throw new Error(`${where}: expected an object of numbers or tensors, got ${String(values)}`);
    for (const [key, value] of Object.entries(values))
      this.addNumber(
        'addScalars',
        `${String(mainTag).replaceAll('/', '_')}_${key}`,
        mainTag,
        value,
        step,
        time,
      );
  }

  /**
   * A picture.
   *
   * @param image [C, H, W] with 1, 3 or 4 channels: floats from 0 to 1 (others are cut), or uint8
   */
  addImage(tag: string, image: Tensor, step = 0, options?: ImageOptions): void {
    this.addPixels('addImage', tag, image, step, arguments.length, options, ['CHW', 'HWC', 'HW']);
  }

  /**
   * Pictures in a grid, eight in a row.
   *
   * @param images [N, C, H, W] with 1, 3 or 4 channels: floats from 0 to 1 (others are cut), or uint8
   */
  addImages(tag: string, images: Tensor, step = 0, options?: ImagesOptions): void {
    this.addPixels('addImages', tag, images, step, arguments.length, options, ['NCHW', 'NHWC']);
  }

  /**
   * A curve of precision over recall, by thresholds.
   *
   * @param labels 0 or 1 for each sample, of any shape
   * @param predictions the probability of 1, as many
   */
  addPrCurve(
    tag: string,
    labels: Tensor | ArrayLike<number>,
    predictions: Tensor | ArrayLike<number>,
    step = 0,
    options?: PrCurveOptions,
  ): void {
    const where = `${this.name}.addPrCurve`;
    checkCount(where, arguments.length, 5);
    const { numThresholds, weights, walltime } = readOptions<Required<PrCurveOptions>>(
      where,
      { numThresholds: 127, weights: null, walltime: null },
      options,
    );
    if (!Number.isInteger(numThresholds) || numThresholds < 2 || numThresholds > 127)
      throw new Error(`${where}: numThresholds must be an integer from 2 to 127, got ${numThresholds}`);
    const [count = 0, ...others] = [labels, predictions, ...(weights === null ? [] : [weights])].map(
      lengthOf,
    );
    if (count === 0 || others.some((length) => length !== count))
      throw new Error(
        `${where}: '${tag}' needs as many predictions and weights as labels, at least one; got ${[count, ...others].join(', ')}`,
      );
    const made = (lists: readonly ArrayLike<number>[]): Content => {
      const [of, p, w = null] = lists as [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>?];
      return prCurveContent(
        tag,
        prCurveOf({ labels: of, predictions: p, weights: w }, numThresholds),
        numThresholds,
      );
    };
    const lists = [labels, predictions, ...(weights === null ? [] : [weights])].map(listOf);
    const isKnown = (list: unknown): list is ArrayLike<number> => !(list instanceof Promise);
    const content = lists.every(isKnown) ? made(lists) : Promise.all(lists).then(made);
    this.add('addPrCurve', '', tag, step, content, this.checkedTime(where, walltime));
  }

  /**
   * How values are spread. Buckets grow by a tenth from 1e-12 on, to both sides of 0.
   *
   * @param values of any shape, at least one; all finite
   */
  addHistogram(tag: string, values: Tensor | ArrayLike<number>, step = 0, options?: EventOptions): void {
    const where = `${this.name}.addHistogram`;
    const time = this.timeOf('addHistogram', arguments.length, options);
    const count = isTensor(values) ? values.numel() : values.length;
    if (!(count > 0))
      throw new Error(
        `${where}: '${tag}' has no values${isTensor(values) ? `: its shape is ${showShape(values.shape)}` : ''}`,
      );
    const content = (list: ArrayLike<number>): Content => histogramContent(tag, histogramOf(list));
    // Later changes of a list are not to be seen.
    this.add(
      'addHistogram',
      '',
      tag,
      step,
      isTensor(values) ? values.data().then(content) : content(values),
      time,
    );
  }

  /** Text, which TensorBoard shows as Markdown. */
  addText(tag: string, text: string, step = 0, options?: EventOptions): void {
    const time = this.timeOf('addText', arguments.length, options);
    if (typeof text !== 'string')
      throw new Error(`${this.name}.addText: expected a string, got ${String(text)}`);
    this.add('addText', '', tag, step, textContent(tag, text), time);
  }

  /**
   * Hyper-parameters of a run and what came of them, for TensorBoard's table of runs.
   *
   * @param run the run's name in the table; by default the time, as PyTorch has it
   */
  addHparams(
    hparams: Readonly<Record<string, HparamValue>>,
    metrics: Readonly<Record<string, number>>,
    run = String(now()),
  ): void {
    const where = `${this.name}.addHparams`;
    checkCount(where, arguments.length, 3);
    for (const [name, value] of Object.entries(hparams))
      if (!['number', 'string', 'boolean'].includes(typeof value))
        throw new Error(`${where}: '${name}' must be a number, a string or a boolean, got ${String(value)}`);
    for (const [name, value] of Object.entries(metrics))
      if (typeof value !== 'number')
        throw new Error(`${where}: metric '${name}' must be a number, got ${String(value)}`);
    for (const content of hparamContents(hparams, Object.keys(metrics)))
      this.add('addHparams', run, 'hparams', 0, content);
    for (const [name, value] of Object.entries(metrics))
      this.add('addHparams', run, name, 0, scalarContent(name, value));
  }

  /** Resolves when everything that was added has been handed on. @throws (a rejection) what went wrong */
  async flush(): Promise<void> {
    while (this.tail !== null) await this.tail;
    this.throwFailure();
  }

  /** As `flush`; nothing can be added afterwards. */
  async close(): Promise<void> {
    this.closed = true;
    await this.flush();
  }

  private addPixels(
    method: string,
    tag: string,
    image: Tensor,
    step: number,
    given: number,
    options: ImageOptions | ImagesOptions | undefined,
    formats: readonly string[],
  ): void {
    const where = `${this.name}.${method}`;
    checkCount(where, given, 4);
    const { dataformats, walltime } = readOptions(
      where,
      { dataformats: formats[0] as string, walltime: null as number | null },
      options,
    );
    checkImage(where, image, dataformats, formats);
    const content = pixelsOf(image, dataformats).then(async (p) =>
      imageContent(tag, p, await encodePng(p.bytes, p)),
    );
    this.add(method, '', tag, step, content, this.checkedTime(where, walltime));
  }

  /** @param given how many arguments there were */
  private timeOf(method: string, given: number, options: EventOptions | undefined): number {
    const where = `${this.name}.${method}`;
    checkCount(where, given, 4);
    const { walltime } = readOptions<Required<EventOptions>>(where, { walltime: null }, options);
    return this.checkedTime(where, walltime);
  }

  private checkedTime(where: string, walltime: number | null): number {
    if (walltime !== null && !Number.isFinite(walltime))
      throw new Error(`${where}: walltime must be seconds since 1970, got ${String(walltime)}`);
    return walltime ?? now();
  }

  private addNumber(
    method: string,
    run: string,
    tag: string,
    value: number | Tensor,
    step: number,
    time: number,
  ): void {
    const where = `${this.name}.${method}`;
    if (isTensor(value) && value.numel() !== 1)
      throw new Error(
        `${where}: '${tag}' must be one number, got a tensor of shape ${showShape(value.shape)}`,
      );
    if (!isTensor(value) && typeof value !== 'number')
      throw new Error(`${where}: '${tag}' must be a number or a tensor of one element, got ${String(value)}`);
    const content = (number: number): Content => scalarContent(tag, number);
    this.add(method, run, tag, step, isTensor(value) ? value.item().then(content) : content(value), time);
  }

  /** Puts an event at the end. */
  private add(
    method: string,
    run: string,
    tag: string,
    step: number,
    content: Content | Promise<Content>,
    time = now(),
  ): void {
    const where = `${this.name}.${method}`;
    if (content instanceof Promise) content.catch(() => undefined); // told of below
    this.throwFailure();
    if (this.closed) throw new Error(`${where}: it was closed; make a new one`);
    if (typeof tag !== 'string' || tag === '')
      throw new Error(`${where}: the tag must be a string with something in it, got '${String(tag)}'`);
    if (!Number.isSafeInteger(step))
      throw new Error(`${where}: the step of '${tag}' must be an integer, got ${String(step)}`);
    if (this.tail === null && !(content instanceof Promise)) {
      this.write(run, eventOf(time, step, content));
      return;
    }
    const before = this.tail;
    const turn = async (): Promise<void> => {
      await before;
      try {
        this.write(run, eventOf(time, step, await content));
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        this.failure ??= { error: new Error(`${where}: '${tag}' at step ${step}: ${why}`, { cause }) };
      }
    };
    const tail: Promise<void> = turn().then(() => {
      if (this.tail === tail) this.tail = null;
    });
    this.tail = tail;
  }

  /** The first of them, once. */
  private throwFailure(): void {
    const { failure } = this;
    this.failure = null;
    if (failure !== null) throw failure.error;
  }

  private write(run: string, event: Uint8Array): void {
    if (!this.started.has(run)) {
      this.sink(recordOf(eventOf(now(), 0, fileVersion)), run);
      this.started.add(run);
      if (this.purgeStep !== null) this.sink(recordOf(eventOf(now(), this.purgeStep, sessionStart)), run);
    }
    this.sink(recordOf(event), run);
  }
}
