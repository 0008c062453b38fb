import { readFileSync } from 'node:fs';
import { tensor, type Tensor } from '../src/index.js';

/** What every row of `test/cases` has. */
export interface Row {
  readonly op?: string;
  readonly name?: string;
  readonly ts?: string;
}

export type Numbers = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** A tensor on the host, in logical row-major order. */
export interface HostTensor {
  readonly dtype: 'float32' | 'int32' | 'uint8' | 'bool';
  readonly shape: readonly number[];
  readonly data: Numbers;
}

/** A tensor as scripts/goldens/rows.py writes it: four-byte little-endian words in base64. */
export type Packed = readonly [dtype: HostTensor['dtype'], shape: readonly number[], words: string];

/**
 * What PyTorch does not see of a row, so that changing it needs no new golden (scripts/goldens/rows.py has it
 * too).
 */
const unseen = new Set(['op', 'name', 'ts', 'tolerance', 'layouts', 'kink']);

const read = (path: string): unknown => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));

export const keyOf = ({ op, name, ts }: Row): string =>
  op === undefined ? (name ?? ts)! : `${op} | ${name}`;

/**
 * The rows of `test/cases/<name>.json`, each with what PyTorch made of it. Throws where a golden is missing
 * or was made from a row that has changed since, and names the script that makes it.
 */
export function loadRows<R extends Row, G>(
  name: string,
): { readonly key: string; readonly row: R; readonly golden: G }[] {
  const goldens = read(`goldens/${name}.json`) as Record<string, G & { readonly row: object }>;
  return (read(`cases/${name}.json`) as R[]).map((row) => {
    const key = keyOf(row);
    const seen = Object.fromEntries(Object.entries(row).filter(([field]) => !unseen.has(field)));
    const golden = goldens[key];
    if (golden === undefined || JSON.stringify(golden.row) !== JSON.stringify(seen)) {
      const remedy = `run python3 scripts/goldens/make.py ${name}`;
      throw new Error(`test/goldens/${name}.json does not match the row '${key}': ${remedy}`);
    }
    return { key, row, golden };
  });
}

export function unpack([dtype, shape, words]: Packed): HostTensor {
  const { buffer } = Uint8Array.from(Buffer.from(words, 'base64'));
  return { dtype, shape, data: dtype === 'float32' ? new Float32Array(buffer) : new Int32Array(buffer) };
}

export function upload(host: HostTensor): Tensor {
  const data = host.dtype === 'uint8' || host.dtype === 'bool' ? Uint8Array.from(host.data) : host.data;
  return tensor(data, { shape: host.shape, dtype: host.dtype });
}

/**
 * Says how `got` differs from `want`, or null when it is within |got - want| <= atol + rtol |want| (NaN
 * equals NaN).
 */
export function difference(
  got: ArrayLike<number>,
  want: HostTensor,
  [rtol, atol]: readonly [number, number] = [1e-4, 1e-5],
): string | null {
  if (got.length !== want.data.length) return `${got.length} values, expected ${want.data.length}`;
  let wrong = 0;
  let worst = -1;
  let worstBy = -1;
  for (let i = 0; i < got.length; i++) {
    const a = got[i] as number;
    const b = want.data[i] as number;
    if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const by = Math.abs(a - b);
    const allowed = want.dtype === 'float32' ? atol + rtol * Math.abs(b) : 0;
    if (by <= allowed && Number.isFinite(b)) continue;
    wrong++;
    const badness = Number.isFinite(by) ? by : Infinity;
    if (badness > worstBy) {
      worstBy = badness;
      worst = i;
    }
  }
  if (wrong === 0) return null;
  return `${wrong} of ${got.length} wrong; worst at ${worst}: ${got[worst]}, expected ${want.data[worst]}`;
}
