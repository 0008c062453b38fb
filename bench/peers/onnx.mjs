/**
 * Just enough of the ONNX format (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3) to write the
 * models that ONNX Runtime is timed on: a protobuf is a list of fields, each a tag (number and wire type) and
 * a value.
 */

/** @typedef {Uint8Array} Bytes */

/** @param {readonly Bytes[]} parts */
const join = (parts) => new Uint8Array(Buffer.concat(parts));
/** @type {(value: number) => Bytes} */
function varint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Uint8Array.from([...bytes, value]);
}
/** @type {(field: number, value: number) => Bytes} */
const int = (field, value) => join([varint(field << 3), varint(value)]);
/** @type {(field: number, value: Bytes) => Bytes} */
const bytes = (field, value) => join([varint((field << 3) | 2), varint(value.length), value]);
/** @type {(field: number, value: string) => Bytes} */
const text = (field, value) => bytes(field, new TextEncoder().encode(value));
/** @type {(field: number, ...parts: Bytes[]) => Bytes} */
const message = (field, ...parts) => bytes(field, join(parts));
/** @type {(field: number, value: number) => Bytes} */
const float = (field, value) =>
  join([varint((field << 3) | 5), new Uint8Array(Float32Array.of(value).buffer)]);

const elementTypes = { float32: 1, int64: 7 };
const attributeTypes = { float: 1, int: 2, ints: 7 };

/** A graph under construction; values are known by name. */
export class OnnxGraph {
  /** @type {Bytes[]} */
  #fields = [text(2, 'bench')];
  #count = 0;

  /**
   * @param {string} name
   * @param {readonly number[]} shape
   */
  input(name, shape) {
    this.#fields.push(this.#value(11, name, shape));
    return name;
  }

  /**
   * @param {string} name
   * @param {readonly number[]} shape
   */
  output(name, shape) {
    this.#fields.push(this.#value(12, name, shape));
  }

  /**
   * @param {string} name
   * @param {readonly number[]} shape
   * @param {Float32Array | BigInt64Array} values
   */
  constant(name, shape, values) {
    const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const type = values instanceof Float32Array ? elementTypes.float32 : elementTypes.int64;
    this.#fields.push(message(5, ...shape.map((n) => int(1, n)), int(2, type), text(8, name), bytes(9, raw)));
    return name;
  }

  /** A number to compute with. @param {number} value */
  scalar(value) {
    return this.constant(`number${this.#count++}`, [], Float32Array.of(value));
  }

  /** A shape or the like. @param {readonly number[]} values */
  integers(values) {
    const name = `integers${this.#count++}`;
    return this.constant(name, [values.length], BigInt64Array.from(values, BigInt));
  }

  /**
   * @param {string} op
   * @param {readonly string[]} inputs
   * @param {Record<string, number | readonly number[]>} [ints]
   * @param {Record<string, number>} [floats]
   * @returns {string} the result's name
   */
  node(op, inputs, ints = {}, floats = {}) {
    const result = `value${this.#count++}`;
    this.#node(op, inputs, [result], ints, floats);
    return result;
  }

  /**
   * Equal parts along a dim.
   * @param {string} x
   * @param {number} count
   * @param {number} axis
   * @returns {string[]}
   */
  split(x, count, axis) {
    const results = Array.from({ length: count }, () => `value${this.#count++}`);
    this.#node('Split', [x], results, { axis });
    return results;
  }

  /**
   * @param {string} op
   * @param {readonly string[]} inputs
   * @param {readonly string[]} results
   * @param {Record<string, number | readonly number[]>} ints
   * @param {Record<string, number>} [floats]
   */
  #node(op, inputs, results, ints, floats = {}) {
    const attributes = [
      ...Object.entries(ints).map(([name, value]) =>
        typeof value === 'number'
          ? message(5, text(1, name), int(3, value), int(20, attributeTypes.int))
          : message(5, text(1, name), ...value.map((v) => int(8, v)), int(20, attributeTypes.ints)),
      ),
      ...Object.entries(floats).map(([name, value]) =>
        message(5, text(1, name), float(2, value), int(20, attributeTypes.float)),
      ),
    ];
    const wires = [...inputs.map((name) => text(1, name)), ...results.map((name) => text(2, name))];
    this.#fields.push(message(1, ...wires, text(3, `${op}${this.#count++}`), text(4, op), ...attributes));
  }

  /** The file's bytes: IR version 8, opset 17. */
  encode() {
    return join([int(1, 8), message(7, ...this.#fields), message(8, text(1, ''), int(2, 17))]);
  }

  /** @type {(field: number, name: string, shape: readonly number[]) => Bytes} */
  #value(field, name, shape) {
    const dims = shape.map((n) => message(1, int(1, n)));
    return message(
      field,
      text(1, name),
      message(2, message(1, int(1, elementTypes.float32), message(2, ...dims))),
    );
  }
}
