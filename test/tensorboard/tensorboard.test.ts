import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import * as k from '../../src/index.js';
import { SummaryEncoder, SummaryWriter } from '../../src/tensorboard/index.js';
import { fieldAt, readFields, readRecords, textOf } from './reader.js';

// Field numbers of tensorboard/compat/proto: Event, Summary and Summary.Value.
const [wallTime, step, fileVersion, summary, sessionLog] = [1, 2, 3, 5, 7];
const value = 1;
const [tag, simpleValue, image] = [1, 2, 4];

/** PyTorch's records (scripts/goldens/event_files.py), by run. */
const goldens = JSON.parse(
  readFileSync(new URL('../goldens/tensorboard/records.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, readonly string[]>>;

let folder = '';
beforeAll(() => k.init());
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'kindling-events-'))));
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  vi.restoreAllMocks();
});

const filesIn = (path: string): string[] =>
  readdirSync(path).filter((name) => name.startsWith('events.out.tfevents.'));

/** The events of the one file in a folder. */
function eventsIn(path = folder): Uint8Array[] {
  const files = filesIn(path);
  expect(files).toHaveLength(1);
  return readRecords(readFileSync(join(path, files[0]!)));
}

/** An encoder and what it hands on. */
function encoder() {
  const records: { run: string; record: Uint8Array }[] = [];
  const log = new SummaryEncoder((record, run) => records.push({ run, record }));
  const events = (): Uint8Array[] => records.flatMap(({ record }) => readRecords(record));
  return { log, records, events };
}

const tagOf = (event: Uint8Array): string => textOf(fieldAt(event, summary, value, tag));
const scalarOf = (event: Uint8Array) => fieldAt(event, summary, value, simpleValue);

describe('records', () => {
  it("are those of PyTorch's SummaryWriter, byte for byte", async () => {
    vi.spyOn(Date, 'now').mockReturnValue(1700000000250);
    const { log, records } = encoder();
    log.addScalar('loss', k.tensor(1 / 3), 0);
    log.addScalar('loss', 0, 2 ** 40);
    log.addScalar('a/b', NaN, -1);
    log.addScalars('all/acc', { train: 0.5, val: 0.25 }, 7);
    log.addHistogram('spread', k.tensor([-3, -0.5, 0, 0.25, 0.25, 1, 2.5]), 4);
    log.addHistogram('one', [1, 1, 1], 5);
    log.addHistogram('zeros', [0, 0], 6);
    log.addText('note', 'hello **world** ä', 2);
    const [labels, scores] = [
      k.tensor([0, 1, 1, 0, 1], { dtype: 'int32' }),
      k.tensor([0.1, 0.4, 0.5, 0.8, 1]),
    ];
    log.addPrCurve('curve', labels, scores, 3, { numThresholds: 5 });
    log.addPrCurve('weighted', labels, scores, 4, { numThresholds: 3, weights: [1, 2, 0.5, 1, 0] });
    log.addScalar('earlier', 1.5, 8, { walltime: 1600000000.5 });
    for (const [name, value] of Object.entries({ lr: 0.1, opt: 'sgd', none: 0 }))
      log.addHparams({ [name]: value }, { 'hparam/acc': 0.9 }, `by ${name}`);
    await log.close();
    for (const [run, expected] of Object.entries(goldens)) {
      const own = records.filter((one) => one.run === run).map(({ record }) => record);
      expect(textOf(fieldAt(readRecords(own[0]!)[0]!, fileVersion))).toBe('brain.Event:2');
      expect(own.slice(1).map((record) => Buffer.from(record).toString('hex'))).toEqual(expected);
    }
    expect(new Set(records.map(({ run }) => run))).toEqual(new Set(Object.keys(goldens)));
  });

  it('have hyper-parameters that are true or false as such, where PyTorch has 1 and 0', async () => {
    const { log, events } = encoder();
    log.addHparams({ nesterov: true, off: false }, {}, 'trial');
    await log.close();
    const content = (event: Uint8Array) => fieldAt(event, summary, value, 9, 1, 2) as Uint8Array;
    const [, experiment, start] = events();
    const infos = readFields(fieldAt(content(experiment!), 2) as Uint8Array).get(4)!;
    expect(
      infos.map((info) => [textOf(fieldAt(info as Uint8Array, 1)), fieldAt(info as Uint8Array, 4)]),
    ).toEqual([
      ['nesterov', 2n],
      ['off', 2n],
    ]);
    const entries = readFields(fieldAt(content(start!), 3) as Uint8Array).get(1)!;
    expect(entries.map((entry) => fieldAt(entry as Uint8Array, 2, 4))).toEqual([1n, 0n]);
  });

  it('keep the order of the calls, whether values are known or must be read', async () => {
    const { log, events } = encoder();
    for (let i = 0; i < 6; i++) log.addScalar(`t${i}`, i % 2 === 0 ? k.tensor(i) : i, i);
    log.addHistogram('h', k.ones(3));
    log.addScalar('last', 1);
    await log.flush();
    expect(events().slice(1).map(tagOf)).toEqual(['t0', 't1', 't2', 't3', 't4', 't5', 'h', 'last']);
  });

  it('have the value of the call, and its time', async () => {
    const { log, events } = encoder();
    const x = k.tensor(1);
    const times = [5000, 6000];
    vi.spyOn(Date, 'now').mockImplementation(() => times[0]!);
    log.addScalar('x', x);
    times.shift();
    x.fill_(2);
    await log.flush();
    expect(scalarOf(events()[1]!)).toBe(1);
    expect(fieldAt(events()[1]!, wallTime)).toBe(5);
  });
});

/** Reads a PNG by its chunks: sizes and rows without their filters, which are 0. */
function decode(png: Uint8Array): { width: number; height: number; type: number; rows: number[][] } {
  const view = new DataView(png.buffer, png.byteOffset, png.length);
  let data: number[] = [];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at))
    if (textOf(png.subarray(at + 4, at + 8)) === 'IDAT')
      data = [...data, ...png.subarray(at + 8, at + 8 + view.getUint32(at))];
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const raw = [...inflateSync(Uint8Array.from(data))];
  const row = raw.length / height;
  const rows = Array.from({ length: height }, (_, y) => raw.slice(y * row, (y + 1) * row));
  expect(rows.every((bytes) => bytes[0] === 0)).toBe(true);
  return { width, height, type: png[25]!, rows: rows.map((bytes) => bytes.slice(1)) };
}

describe('an image', () => {
  it('of floats is a PNG of them, cut to 0 ... 1', async () => {
    const { log, events } = encoder();
    log.addImage('p', k.tensor([[[0, 0.5, 2]], [[1, -1, 0.25]], [[0.1, 1, 0]]]), 3); // prettier-ignore
    await log.flush();
    const event = events()[1]!;
    const at = (field: number) => fieldAt(event, summary, value, image, field);
    expect([at(1), at(2), at(3), fieldAt(event, step)]).toEqual([1n, 3n, 3n, 3n]);
    const { width, height, type, rows } = decode(at(4) as Uint8Array);
    expect([width, height, type]).toEqual([3, 1, 2]);
    expect(rows).toEqual([[0, 255, 25, 127, 0, 255, 255, 63, 0]]);
  });

  it('of bytes, grey or with channels last, is those bytes', async () => {
    const { log, events } = encoder();
    const bytes = k.tensor([[0, 255], [128, 7]], { dtype: 'uint8' }); // prettier-ignore
    log.addImage('hw', bytes, 0, { dataformats: 'HW' });
    log.addImage('hwc', bytes.unsqueeze(2).expand(2, 2, 4), 0, { dataformats: 'HWC' });
    await log.flush();
    const [grey, rgba] = events().slice(1).map((e) => decode(fieldAt(e, summary, value, image, 4) as Uint8Array)); // prettier-ignore
    expect(grey).toEqual({ width: 2, height: 2, type: 0, rows: [[0, 255], [128, 7]] }); // prettier-ignore
    expect(rgba!.type).toBe(6);
    expect(rgba!.rows[1]).toEqual([128, 128, 128, 128, 7, 7, 7, 7]);
  });
});

describe('images', () => {
  const sizes = (event: Uint8Array) => [1, 2, 3].map((field) => fieldAt(event, summary, value, image, field));

  it('are a grid of eight in a row, without gaps, in either order of dims', async () => {
    const { log, events } = encoder();
    // Nine images of 1 x 2 pixels, each of its number.
    const pixels = k.tensor(
      Array.from({ length: 9 }, (_, n) => [[[n, n + 100]]]),
      { dtype: 'uint8' },
    );
    log.addImages('nchw', pixels, 2);
    log.addImages('nhwc', pixels.permute(0, 2, 3, 1), 2, { dataformats: 'NHWC' });
    await log.flush();
    const first = Array.from({ length: 8 }, (_, n) => [n, n + 100]).flat();
    const second = [8, 108, ...new Array<number>(14).fill(0)];
    for (const event of events().slice(1)) {
      expect([...sizes(event), fieldAt(event, step)]).toEqual([2n, 16n, 1n, 2n]);
      const { rows } = decode(fieldAt(event, summary, value, image, 4) as Uint8Array);
      expect(rows).toEqual([first, second]);
    }
  });

  it('of colours keep their channels', async () => {
    const { log, events } = encoder();
    log.addImages(
      'rgb',
      k.tensor([
        [[[0]], [[0.5]], [[1]]],
        [[[1]], [[0]], [[0.25]]],
      ]),
    );
    await log.flush();
    expect(sizes(events()[1]!)).toEqual([1n, 2n, 3n]);
    expect(decode(fieldAt(events()[1]!, summary, value, image, 4) as Uint8Array).rows).toEqual([
      [0, 127, 255, 255, 0, 63],
    ]);
  });
});

describe('a file', () => {
  it('holds whole records after every call, before anything is flushed', async () => {
    const writer = new SummaryWriter(folder);
    for (let i = 0; i < 3; i++) {
      writer.addScalar('x', i, i);
      expect(eventsIn()).toHaveLength(i + 2);
    }
    await writer.close();
  });

  it('is made per writer and run, beside what is there', async () => {
    const first = new SummaryWriter(folder, { filenameSuffix: '.a' });
    const second = new SummaryWriter(folder);
    first.addScalar('x', 1);
    second.addScalar('x', 2);
    first.addScalars('acc', { val: 1 });
    await Promise.all([first.close(), second.close()]);
    expect(filesIn(folder)).toHaveLength(2);
    expect(filesIn(folder).filter((name) => name.endsWith('.a'))).toHaveLength(1);
    expect(eventsIn(join(folder, 'acc_val')).slice(1).map(tagOf)).toEqual(['acc']);
  });

  it('of a run that goes on says from which step on the others are void', async () => {
    const writer = new SummaryWriter(folder, { purgeStep: 12 });
    writer.addScalar('x', 1, 12);
    await writer.close();
    const [, start] = eventsIn();
    expect([fieldAt(start!, step), fieldAt(start!, sessionLog, 1)]).toEqual([12n, 1n]);
  });

  it('is as it was before a record that the disk did not take', async () => {
    const writer = new SummaryWriter(folder);
    writer.addScalar('x', 1, 1);
    const write = fs.writeSync.bind(fs) as (...args: unknown[]) => number;
    let calls = 0;
    vi.spyOn(process.getBuiltinModule('node:fs'), 'writeSync').mockImplementation(((...args: unknown[]) => {
      if (calls++ > 0) throw new Error('ENOSPC: no space left on device');
      args[3] = 5; // half a record, then none
      return write(...args);
    }) as typeof fs.writeSync);
    expect(() => writer.addScalar('x', 2, 2)).toThrow(/cannot write .*tfevents.*no space left/);
    vi.restoreAllMocks();
    writer.addScalar('x', 3, 3);
    await writer.close();
    expect(eventsIn().slice(1).map(scalarOf)).toEqual([1, 3]);
  });

  it('has a folder of its own name by default', async () => {
    const before = process.cwd();
    process.chdir(folder);
    const writer = new SummaryWriter(undefined, { comment: '-lr1' });
    process.chdir(before);
    await writer.close();
    expect(writer.logDir).toMatch(/^runs\/[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.*-lr1$/);
  });
});

describe('what cannot be logged', () => {
  it('is told by the next flush where a value had to be read, and the rest is there', async () => {
    const { log, events } = encoder();
    log.addHistogram('h', k.tensor([1, NaN]), 3);
    log.addImage('p', k.tensor([[NaN]]), 3, { dataformats: 'HW' });
    log.addScalar('x', 1);
    await expect(log.flush()).rejects.toThrow(
      "SummaryEncoder.addHistogram: 'h' at step 3: value 1 is NaN, which no bucket can hold",
    );
    await log.close();
    expect(events().slice(1).map(tagOf)).toEqual(['x']);
  });

  it.each<[RegExp, (log: SummaryEncoder) => void]>([
    [/'x' must be one number, got a tensor of shape \[2\]/, (log) => log.addScalar('x', k.ones(2))],
    [/'x' must be a number or a tensor of one element, got 1/, (log) => log.addScalar('x', '1' as never)],
    [/the step of 'x' must be an integer, got 0.5/, (log) => log.addScalar('x', 1, 0.5)],
    [/the tag must be a string/, (log) => log.addScalar('', 1)],
    [
      /expected an image CHW with 1, 3 or 4 channels, got shape \[2, 4, 4\]/,
      (log) => log.addImage('x', k.ones(2, 4, 4)),
    ],
    [/expected uint8 .* got int32/, (log) => log.addImage('x', k.ones([1, 4, 4], { dtype: 'int32' }))],
    [
      /addImages: expected images NCHW with 1, 3 or 4 channels, got shape \[3, 4, 4\]/,
      (log) => log.addImages('x', k.ones(3, 4, 4)),
    ],
    [
      /dataformats must be 'NCHW' or 'NHWC', got CHW/,
      (log) => log.addImages('x', k.ones(1, 1, 4, 4), 0, { dataformats: 'CHW' as never }),
    ],
    [
      /addScalar: there is no option 'doublePrecision'/,
      (log) => log.addScalar('x', 1, 0, { doublePrecision: true } as never),
    ],
    [
      /addHistogram: there is no option 'bins'/,
      (log) => log.addHistogram('x', [1], 0, { bins: 'auto' } as never),
    ],
    [/addText: there is no option/, (log) => log.addText('x', 'y', 0, { markdown: true } as never)],
    [
      /addImage: there is no option/,
      (log) => log.addImage('x', k.ones(1, 2, 2), 0, { format: 'CHW' } as never),
    ],
    [/addScalars: there is no option/, (log) => log.addScalars('x', { a: 1 }, 0, { bins: 1 } as never)],
    [/addScalar.*5/, (log) => (log.addScalar as (...args: unknown[]) => void).call(log, 'x', 1, 0, {}, 2)],
    [/walltime must be seconds since 1970, got NaN/, (log) => log.addScalar('x', 1, 0, { walltime: NaN })],
    [/label 1 must be 0 or 1, got 2/, (log) => log.addPrCurve('x', [0, 2], [0.5, 0.5])],
    [/prediction 0 must be a probability from 0 to 1, got -1/, (log) => log.addPrCurve('x', [0], [-1])],
    [
      /weight 0 must be a finite number of at least 0, got -1/,
      (log) => log.addPrCurve('x', [0], [1], 0, { weights: [-1] }),
    ],
    [
      /'x' needs as many predictions and weights as labels, at least one; got 2, 1/,
      (log) => log.addPrCurve('x', [0, 1], [1]),
    ],
    [/'x' needs as many .* got 0, 0/, (log) => log.addPrCurve('x', [], [])],
    [
      /numThresholds must be an integer from 2 to 127, got 200/,
      (log) => log.addPrCurve('x', [0], [1], 0, { numThresholds: 200 }),
    ],
    [
      /there is no option 'num_thresholds'; did you mean 'numThresholds'/,
      (log) => log.addPrCurve('x', [0], [1], 0, { num_thresholds: 5 } as never),
    ],
    [/dataformats must be/, (log) => log.addImage('x', k.ones(1, 4, 4), 0, { dataformats: 'WH' as never })],
    [/'x' has no values: its shape is \[0\]/, (log) => log.addHistogram('x', k.ones(0))],
    [/value 0 is Infinity/, (log) => log.addHistogram('x', [Infinity])],
    [/expected a string, got 1/, (log) => log.addText('x', 1 as never)],
    [/'lr' must be a number, a string or a boolean/, (log) => log.addHparams({ lr: null as never }, {})],
  ])('is told at once: %s', (error, run) => {
    expect(() => run(encoder().log)).toThrow(error);
  });

  it('is anything after close', async () => {
    const { log } = encoder();
    await log.close();
    expect(() => log.addScalar('x', 1)).toThrow('SummaryEncoder.addScalar: it was closed; make a new one');
  });
});
