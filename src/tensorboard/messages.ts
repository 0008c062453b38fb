/*
 * The protobuf messages of TensorBoard's event files, field numbers as in its event.proto, summary.proto,
 * tensor.proto and the plugin_data.proto of plugins/hparams and plugins/pr_curve (tensorboard/compat/proto,
 * version 2.21).
 */
import protobuf from 'protobufjs/minimal.js';
import type { HparamValue } from './types.js';

/** Writes the fields of one message. */
export type Fields = (w: protobuf.Writer) => void;

/** The wire types of the encoding. */
const [varint, fixed64, bytes, fixed32] = [0, 1, 2, 5];

const tag = (w: protobuf.Writer, field: number, type: number): protobuf.Writer =>
  w.uint32((field << 3) | type);

const message = (field: number, fields: Fields): Fields => {
  return (w) => {
    tag(w, field, bytes!).fork();
    fields(w);
    w.ldelim();
  };
};
const text = (field: number, value: string): Fields => {
  return (w) => void tag(w, field, bytes!).string(value);
};
const data = (field: number, value: Uint8Array): Fields => {
  return (w) => void tag(w, field, bytes!).bytes(value);
};
const double = (field: number, value: number): Fields => {
  return (w) => void tag(w, field, fixed64!).double(value);
};
const float = (field: number, value: number): Fields => {
  return (w) => void tag(w, field, fixed32!).float(value);
};
/** An int64, int32, enum or bool. */
const integer = (field: number, value: number): Fields => {
  return (w) => void tag(w, field, varint!).int64(value);
};
/** 0 is the default of fields that are in no `oneof`, and left out. */
const unless0 = (write: typeof double, field: number, value: number): Fields =>
  value === 0 ? () => undefined : write(field, value);
const doubles = (field: number, values: readonly number[]): Fields =>
  message(field, (w) => values.forEach((value) => w.double(value)));

const all =
  (...parts: readonly Fields[]): Fields =>
  (w) =>
    parts.forEach((part) => part(w));

function encode(fields: Fields): Uint8Array {
  const w = protobuf.Writer.create();
  fields(w);
  return w.finish();
}

/** What an event holds, beside its time and step. */
export type Content = Fields;

/** An `Event`. @param wallTime seconds since 1970 @param step a whole number */
export const eventOf = (wallTime: number, step: number, content: Content): Uint8Array =>
  encode(all(double(1, wallTime), unless0(integer, 2, step), content));

/** The first event of a file. */
export const fileVersion: Content = text(3, 'brain.Event:2');

/** `SessionLog.START`: what other files of the run have from this step on is void. */
export const sessionStart: Content = message(7, integer(1, 1));

/** A `Summary` of values. */
const summary = (...values: readonly Fields[]): Content => {
  return message(5, all(...values.map((value) => message(1, value))));
};

export const scalarContent = (name: string, value: number): Content =>
  summary(all(text(1, name), float(2, value)));

/** `Summary.Image`. @param channels 1 (grey), 3 (RGB) or 4 (RGBA) */
export const imageContent = (
  name: string,
  { height, width, channels }: { height: number; width: number; channels: number },
  png: Uint8Array,
): Content =>
  summary(
    all(
      text(1, name),
      message(4, all(integer(1, height), integer(2, width), integer(3, channels), data(4, png))),
    ),
  );

/** `HistogramProto`: bucket i holds the values up to `limits[i]` and beyond the limit before. */
export interface Histogram {
  readonly min: number;
  readonly max: number;
  readonly num: number;
  readonly sum: number;
  readonly sumSquares: number;
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

export const histogramContent = (name: string, h: Histogram): Content =>
  summary(
    all(
      text(1, name),
      message(
        5,
        all(
          unless0(double, 1, h.min),
          unless0(double, 2, h.max),
          unless0(double, 3, h.num),
          unless0(double, 4, h.sum),
          unless0(double, 5, h.sumSquares),
          doubles(6, h.limits),
          doubles(7, h.counts),
        ),
      ),
    ),
  );

/** `SummaryMetadata` for a plugin of TensorBoard. */
const plugin = (name: string, content?: Uint8Array): Fields =>
  message(9, message(1, all(text(1, name), content === undefined ? all() : data(2, content))));

/** `DataType.DT_STRING`. */
const stringType = 7;

export function textContent(name: string, value: string): Content {
  const shape = message(2, message(2, integer(1, 1)));
  const tensor = message(8, all(integer(1, stringType), shape, text(8, value)));
  return summary(all(text(1, `${name}/text_summary`), tensor, plugin('text')));
}

/** `DataType.DT_FLOAT`. */
const floatType = 1;

/** `PrCurvePluginData` of version 0 and its tensor, [6, thresholds]. */
export function prCurveContent(name: string, rows: readonly number[], thresholds: number): Content {
  const dim = (size: number): Fields => message(2, integer(1, size));
  const values = message(5, (w) => rows.forEach((value) => w.float(value)));
  const tensor = all(integer(1, floatType), message(2, all(dim(6), dim(thresholds))), values);
  return summary(all(text(1, name), message(8, tensor), plugin('pr_curves', encode(integer(2, thresholds)))));
}

/** `DataType` of hyper-parameters, and the field of `google.protobuf.Value`. */
const hparamTypes = { string: 1, boolean: 2, number: 3 } as const;

function valueOf(value: HparamValue): Fields {
  if (typeof value === 'number') return double(2, value);
  if (typeof value === 'string') return text(3, value);
  return integer(4, value ? 1 : 0);
}

/** `SessionEndInfo`'s `Status.STATUS_SUCCESS`. */
const success = 1;

/** The three summaries of a run with hyper-parameters: what there are, which it has, that it is complete. */
export function hparamContents(
  hparams: Readonly<Record<string, HparamValue>>,
  metrics: readonly string[],
): readonly Content[] {
  const kind = (value: HparamValue) => hparamTypes[typeof value as keyof typeof hparamTypes];
  const infos = Object.entries(hparams).map(([name, value]) =>
    message(4, all(text(1, name), integer(4, kind(value)))),
  );
  const metricInfos = metrics.map((name) => message(5, message(1, text(2, name))));
  const entries = Object.entries(hparams).map(([name, value]) =>
    message(1, all(text(1, name), message(2, valueOf(value)))),
  );
  const content = (name: string, field: number, fields: Fields): Content =>
    summary(all(text(1, `_hparams_/${name}`), plugin('hparams', encode(message(field, fields)))));
  return [
    content('experiment', 2, all(...infos, ...metricInfos)),
    content('session_start_info', 3, all(...entries)),
    content('session_end_info', 4, integer(1, success)),
  ];
}
