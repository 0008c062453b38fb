import type { DType } from '../tensor/dtype.js';

interface Laid {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

interface Entry<V> {
  readonly key: readonly number[];
  readonly value: V;
  readonly next: Entry<V> | undefined;
}

const capacity = 1024;
const codes: Readonly<Record<DType, number>> = { float32: 0, float16: 1, int32: 2, uint8: 3, bool: 4 };

/** The key being looked up: as numbers in one array that is used again, it costs a tenth of a string. */
const scratch: number[] = [];
let length = 0;
let hash = 0;

function push(value: number): void {
  scratch[length++] = value;
  hash = Math.imul(hash ^ value, 0x9e3779b1);
  hash ^= hash >>> 15;
}

function pushLayout({ dtype, shape, strides, offset }: Laid): void {
  push(shape.length * 8 + codes[dtype]);
  push(offset);
  for (let d = 0; d < shape.length; d++) {
    push(shape[d] as number);
    push(strides[d] as number);
  }
}

function isScratch(key: readonly number[]): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (key[i] !== scratch[i]) return false;
  return true;
}

/** Finds again what was worked out for a number and the layouts of some tensors. */
export class LayoutMemo<V> {
  private readonly entries = new Map<number, Entry<V>>();

  get(flags: number, inputs: readonly Laid[], out: Laid, make: () => V): V {
    length = 0;
    hash = 0;
    push(flags);
    for (let i = 0; i < inputs.length; i++) pushLayout(inputs[i] as Laid);
    pushLayout(out);
    for (let entry = this.entries.get(hash); entry !== undefined; entry = entry.next) {
      if (isScratch(entry.key)) return entry.value;
    }
    const [key, place] = [scratch.slice(0, length), hash];
    const value = make();
    if (this.entries.size >= capacity) this.entries.clear();
    this.entries.set(place, { key, value, next: this.entries.get(place) });
    return value;
  }
}
