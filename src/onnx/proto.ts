/** Bytes of the messages of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, by its field numbers. */
import protobuf from 'protobufjs/minimal.js';
import { elementTypes, type Attribute, type ElementType } from './graph.js';

type Writer = protobuf.Writer;

export interface TensorProto {
  readonly name: string;
  readonly dtype: ElementType;
  readonly dims: readonly number[];
  /** Row-major, little-endian; or where they are in another file. */
  readonly raw: Uint8Array | ExternalData;
}

/** Numbers outside the message (https://onnx.ai/onnx/repo-docs/ExternalData.html). */
export interface ExternalData {
  /** The file's name, in the folder of the model's. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  readonly length: number;
}

/** A size, or the name of one that is not fixed. */
export type Dimension = number | string;

export interface ValueInfo {
  readonly name: string;
  readonly dtype: ElementType;
  readonly dims: readonly Dimension[];
}

export interface NodeProto {
  readonly name: string;
  readonly op: string;
  /** '' for one that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface ModelProto {
  readonly irVersion: number;
  readonly opset: number;
  readonly name: string;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly metadata: Readonly<Record<string, string>>;
}

const wire = { varint: 0, bytes: 2, fixed32: 5 } as const;
const tag = (field: number, type: number): number => (field << 3) | type;

const putInt = (w: Writer, field: number, value: number): Writer =>
  w.uint32(tag(field, wire.varint)).int64(value);
const putText = (w: Writer, field: number, value: string): Writer =>
  w.uint32(tag(field, wire.bytes)).string(value);
function put(w: Writer, field: number, write: (w: Writer) => void): void {
  w.uint32(tag(field, wire.bytes)).fork();
  write(w);
  w.ldelim();
}

const attributeTypes = { float: 1, int: 2, string: 3, ints: 7, strings: 8 } as const;

/** A StringStringEntryProto. */
const putEntry = (w: Writer, field: number, key: string, value: string): void =>
  put(w, field, (entry) => {
    putText(entry, 1, key);
    putText(entry, 2, value);
  });

/** TensorProto.DataLocation. */
const external = 1;

function putAttribute(w: Writer, name: string, attribute: Attribute): void {
  putText(w, 1, name);
  switch (attribute.kind) {
    case 'float':
      w.uint32(tag(2, wire.fixed32)).float(attribute.value);
      break;
    case 'int':
      putInt(w, 3, attribute.value);
      break;
    case 'string':
      putText(w, 4, attribute.value);
      break;
    case 'ints':
      for (const value of attribute.value) putInt(w, 8, value);
      break;
    case 'strings':
      for (const value of attribute.value) putText(w, 9, value);
  }
  putInt(w, 20, attributeTypes[attribute.kind]);
}

function putNode(w: Writer, { name, op, inputs, outputs, attributes }: NodeProto): void {
  for (const input of inputs) putText(w, 1, input);
  for (const output of outputs) putText(w, 2, output);
  putText(w, 3, name);
  putText(w, 4, op);
  for (const [key, attribute] of Object.entries(attributes))
    put(w, 5, (inner) => putAttribute(inner, key, attribute));
}

function putTensor(w: Writer, { name, dtype, dims, raw }: TensorProto): void {
  for (const size of dims) putInt(w, 1, size);
  putInt(w, 2, elementTypes[dtype]);
  putText(w, 8, name);
  if (raw instanceof Uint8Array) {
    w.uint32(tag(9, wire.bytes)).bytes(raw);
    return;
  }
  for (const [key, value] of Object.entries(raw)) putEntry(w, 13, key, String(value));
  putInt(w, 14, external);
}

function putValueInfo(w: Writer, { name, dtype, dims }: ValueInfo): void {
  putText(w, 1, name);
  const putDim = (inner: Writer, size: Dimension): void =>
    void (typeof size === 'number' ? putInt(inner, 1, size) : putText(inner, 2, size));
  put(w, 2, (type) =>
    put(type, 1, (tensor) => {
      putInt(tensor, 1, elementTypes[dtype]);
      put(tensor, 2, (shape) => {
        for (const size of dims) put(shape, 1, (dim) => putDim(dim, size));
      });
    }),
  );
}

/** A ModelProto. The numbers of the initializers are copied once, into the result. */
export function encodeModel(model: ModelProto): Uint8Array {
  const w = protobuf.Writer.create();
  putInt(w, 1, model.irVersion);
  putText(w, 2, 'kindling');
  put(w, 7, (graph) => {
    for (const node of model.nodes) put(graph, 1, (inner) => putNode(inner, node));
    putText(graph, 2, model.name);
    for (const tensor of model.initializers) put(graph, 5, (inner) => putTensor(inner, tensor));
    for (const input of model.inputs) put(graph, 11, (inner) => putValueInfo(inner, input));
    for (const output of model.outputs) put(graph, 12, (inner) => putValueInfo(inner, output));
  });
  put(w, 8, (set) => {
    putText(set, 1, '');
    putInt(set, 2, model.opset);
  });
  for (const [key, value] of Object.entries(model.metadata)) putEntry(w, 14, key, value);
  return w.finish();
}
