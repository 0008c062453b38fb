/**
 * Weight files with something wrong in them. A mutant is data, a base and a list of edits, so that it can be
 * named by a seed, printed, and made smaller by leaving edits out. Edits know the formats: they change
 * opcodes of pickles, fields of zip records, values of JSON headers and words of .npy headers, and put
 * lengths and checksums right again behind most of them.
 */

import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { opLengths } from './pickle-ops.js';
import { buildZip, type Part } from './zip-builder.js';

export interface Edit {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

export interface Mutant {
  readonly base: number;
  readonly edits: readonly Edit[];
}

const word = fc.nat(0xffffffff);

/** One to six edits of a base. */
export const mutants: fc.Arbitrary<Mutant> = fc.record({
  base: word,
  edits: fc.array(fc.record({ kind: word, a: word, b: word, c: word }), { minLength: 1, maxLength: 6 }),
});

const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../fixtures/formats/${name}`, import.meta.url)));

// ---- bytes

const numbers = [0, 1, 2, 3, 7, 8, 16, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0xfffff];
const large = [0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 2 ** 31 - 8, 2 ** 30, 2 ** 24];
const interesting = [...numbers, ...large];
const pick = <T>(list: readonly T[], index: number): T => list[index % list.length]!;

/** Changes that know nothing of what the bytes mean. */
function editBytes(bytes: Uint8Array, { kind, a, b, c }: Edit): Uint8Array {
  const at = bytes.length === 0 ? 0 : a % bytes.length;
  const out = bytes.slice();
  switch (kind % 8) {
    case 0:
      if (out.length > 0) out[at]! ^= 1 << (b % 8);
      return out;
    case 1:
      if (out.length > 0) out[at] = pick(interesting, b) & 255;
      return out;
    case 2:
    case 3: {
      const width = kind % 8 === 2 ? 4 : 8;
      if (at + width > out.length) return out;
      const view = new DataView(out.buffer);
      if (width === 4) view.setUint32(at, pick(interesting, b), true);
      else view.setBigUint64(at, BigInt(pick(interesting, b)) * (c % 3 === 0 ? 2n ** 32n : 1n), true);
      return out;
    }
    case 4:
      return bytes.slice(0, at);
    case 5:
      return join(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + (b % 32))));
    case 6:
      return join(bytes.subarray(0, at), bytes.subarray(at, at + 1 + (b % 64)), bytes.subarray(at));
    default: {
      const inserted = new Uint8Array(1 + (b % 64)).fill(c & 255);
      return join(bytes.subarray(0, at), inserted, bytes.subarray(at));
    }
  }
}

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

// ---- pickles

const control = '\x1b]52;c;aGk=\x07\x9b2J\u202e';
const u32 = (value: number): string =>
  String.fromCharCode(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
const text = (value: string): string =>
  `X${u32(Buffer.byteLength(value))}${Buffer.from(value).toString('latin1')}`;
const storage = (elements: string, key = text('0')): string =>
  `(${text('storage')}ctorch\nFloatStorage\n${key}${text('cpu')}${elements}tQ`;

/** Opcode sequences to put in: each kind of value, and what attacks are made of. */
const snippets = [
  'N', '\x88', 'K\x07', 'J\xff\xff\xff\x7f', 'M\xff\xff', '\x8a\x02\xff\x00', '\x8a\x09\0\0\0\0\0\0\0\0\x01', 'G\x7f\xf0\0\0\0\0\0\0',
  'F1e999\n', `F${'9'.repeat(500)}\n`, `I${'8'.repeat(300)}\n`, 'L-5L\n', text('a'), text(control), text('state_dict'), text('module'),
  text('k'.repeat(300)), "S'a\\x41\\'\n", "S'\\n'\n", 'Vb\\u0041\\U0001f600\n', 'U\x03abc', 'T\x02\0\0\0ab', 'C\x03abc', 'B\xff\xff\xff\xff', 'X\xff\xff\xff\xff',
  '\x8d\x03\0\0\0\0\0\0\0abc', '\x96\x02\0\0\0\0\0\0\0ab', ')', ']', '}', '\x8f', '(', 't', 'l', 'd', '\x85', '\x86', '\x87', 'a', 'e', 's', 'u', '\x90', '\x91',
  '0', '1', '2', 'h\0', 'h\x01', 'j\x03\0\0\0', 'q\0', 'q\x01', 'r\xff\xff\0\0', 'r\xff\xff\xff\xff', '\x94', 'g0\n', 'p1\n', 'p99999999999\n', 'R', 'b', '\x81', '\x92', 'o', 'Q', 'P0\n', '.',
  'ccollections\nOrderedDict\n', 'ccollections\nOrderedDict\n)R', 'ccollections\nCounter\n', 'ccollections\ndeque\n', 'c__builtin__\nset\n', 'c__builtin__\nlist\n', 'c__builtin__\nbytearray\n',
  'ctorch._utils\n_rebuild_tensor_v2\n', 'ctorch._utils\n_rebuild_tensor_v3\n', 'ctorch._utils\n_rebuild_parameter\n', 'ctorch._tensor\n_rebuild_from_type_v2\n', 'ctorch\nSize\n', 'ctorch\ndevice\n', 'ctorch\nfloat16\n',
  'ctorch\nFloatStorage\n', 'ctorch.storage\nUntypedStorage\n', 'cnumpy\ndtype\n', 'cnumpy\nndarray\n', 'cnumpy.core.multiarray\nscalar\n', 'cnumpy.core.multiarray\n_reconstruct\n', 'c_codecs\nencode\n',
  'ccopyreg\n_reconstructor\n', 'cargparse\nNamespace\n)\x81', 'cpathlib\nPosixPath\n', 'cos\nsystem\n', 'cbuiltins\neval\n', 'cbuiltins\ngetattr\n', 'ctorch.nn.modules.loss\nCrossEntropyLoss\n)\x81', 'cdatetime\ndatetime\n',
  'cfunctools\npartial\n', `c${'m'.repeat(600)}\n${'n'.repeat(600)}\n`, `c\x1b[2J\n\x9b\n`, storage('K\x04'), storage('J\xff\xff\xff\x7f'), storage('K\x00'), storage('N'), storage('K\x04', `(${text('0')}t`),
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage('K\x04')}K\x00K\x02K\x02\x86K\x02K\x01\x86\x89}tR`,
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage('K\x04')}K\x00J\xff\xff\xff\x7f\x85K\x00\x85\x89}tR`,
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage('K\x04')}K\x00J\xff\xff\xff\x00\x85K\x00\x85\x89}tR`,
  'cnumpy\ndtype\n(X\x02\0\0\0f8K\x00K\x01tR(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb',
  '}q\x05h\x05h\x05s', ']q\x05h\x05a', '2\x86', `${'2\x86'.repeat(40)}`, `${']'.repeat(300)}`, `${'('.repeat(100)}`, `${'}'.repeat(200)}`, `${'N'.repeat(2000)}`,
].map(latin1); // prettier-ignore

/** The opcodes of pickles that follow each other, as far as they can be told apart. */
function opcodes(pickle: Uint8Array): Uint8Array[] {
  const ops: Uint8Array[] = [];
  for (let at = 0; at < pickle.length;) {
    const length = Math.max(1, Math.min(opLengths(pickle, at), pickle.length - at));
    ops.push(pickle.subarray(at, at + length));
    at += length;
  }
  return ops;
}

function editPickle(pickle: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const ops = opcodes(pickle);
  for (const { kind, a, b, c } of edits) {
    const at = ops.length === 0 ? 0 : a % ops.length;
    switch (kind % 9) {
      case 0:
        ops.splice(at, 1 + (b % 3));
        break;
      case 1:
        ops.splice(at, 0, pick(snippets, b));
        break;
      case 2:
        ops.splice(at, 0, pick(snippets, b), pick(snippets, c));
        break;
      case 3:
        ops[at] = pick(snippets, b);
        break;
      case 4: {
        const times = c % 16 === 0 ? 500 : 1 + (b % 8);
        const op = ops[at];
        if (op !== undefined) ops.splice(at, 0, ...new Array<Uint8Array>(times).fill(op));
        break;
      }
      case 5: {
        const other = b % Math.max(1, ops.length);
        if (ops.length > 1) [ops[at], ops[other]] = [ops[other]!, ops[at]!];
        break;
      }
      case 6:
        ops.splice(at, 0, ...ops.slice(b % (at + 1), at).slice(0, 64));
        break;
      case 7:
        // The argument of an opcode, its lengths and indices above all.
        if (ops[at] !== undefined && ops[at].length > 1) {
          const op = ops[at].slice();
          op[1 + (b % (op.length - 1))] = pick(interesting, c) & 255;
          ops[at] = op;
        }
        break;
      default:
        if (ops[at] !== undefined) ops[at] = editBytes(ops[at], { kind: b, a: c, b: a, c: b });
    }
    if (ops.length > 20_000) ops.length = 20_000;
  }
  return join(...ops);
}

// ---- zip archives

function partsOf(bytes: Uint8Array): Part[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  while (view.getUint32(end, true) !== 0x06054b50) end--;
  const parts: Part[] = [];
  let at = view.getUint32(end + 16, true);
  for (let i = view.getUint16(end + 10, true); i > 0; i--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const name = Buffer.from(bytes.subarray(at + 46, at + 46 + nameLength!)).toString();
    const local = view.getUint32(at + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const raw = bytes.subarray(start, start + view.getUint32(at + 20, true));
    const data = view.getUint16(at + 10, true) === 8 ? new Uint8Array(inflateRawSync(raw)) : raw.slice();
    parts.push({ name, data });
    at += 46 + nameLength! + extra! + comment!;
  }
  return parts;
}

function editArchive(
  parts: readonly Part[],
  edits: readonly Edit[],
  deflated: boolean,
  inner: (part: Part, edits: readonly Edit[]) => Uint8Array,
): Uint8Array {
  // A third of the mutants have good records around something wrong, a third wrong records, a third both.
  const mode = (edits[0]?.c ?? 0) % 3;
  const half = mode === 2 ? Math.ceil(edits.length / 2) : mode === 0 ? edits.length : 0;
  const [within, around] = [edits.slice(0, half), edits.slice(half)];
  let changed = parts.map((part) => ({ ...part, deflated }));
  if (within.length > 0) {
    const index = within[0]!.kind % 4 === 0 ? within[0]!.a % parts.length : 0;
    changed = changed.map((part, i) => (i === index ? { ...part, data: inner(part, within) } : part));
  }
  let outside: readonly Edit[] = around;
  for (const edit of around) {
    if (edit.kind % 5 > 1) continue;
    outside = outside.filter((other) => other !== edit);
    const at = edit.a % changed.length;
    const part = changed[at]!;
    switch (edit.b % 6) {
      case 0:
        changed.splice(at, 1);
        break;
      case 1:
        changed.splice(at, 0, part);
        break;
      case 2:
        changed[at] = {
          ...part,
          name: pick(
            [
              '',
              'archive/data.pkl',
              '../x',
              control,
              `${part.name}\0`,
              'a/b/data.pkl',
              'archive/code/x',
              'k'.repeat(5000),
              'x.npy',
            ],
            edit.c,
          ),
        };
        break;
      case 3:
        changed[at] = { ...part, size: pick(interesting, edit.c) };
        break;
      case 4:
        changed[at] = { ...part, crc: edit.c % 2 === 0 ? 0 : edit.c };
        break;
      default:
        changed[at] = { ...part, deflated: !part.deflated };
    }
    if (changed.length === 0) return buildZip([]).bytes;
  }
  const { bytes, fields } = buildZip(changed);
  let out: Uint8Array = bytes;
  for (const edit of outside) {
    const [at, width] = pick(fields, edit.a);
    if (edit.kind % 5 === 2 || out.length <= at + width) out = editBytes(out, edit);
    else {
      const view = new DataView(out.buffer);
      const value = edit.c % 4 === 0 ? edit.b : pick(interesting, edit.b);
      if (width === 2) view.setUint16(at, value & 0xffff, true);
      else view.setUint32(at, value >>> 0, true);
    }
  }
  return out;
}

// ---- JSON

const jsonValues: readonly unknown[] = [
  null, true, 0, 1, -1, 1.5, 2 ** 31, 2 ** 53, 1e308, -0, '', 'F32', 'F64', 'I8', 'BOOL', 'constructor', '__proto__', control, 'k'.repeat(2000), [], {}, [0], [1, 1], [0, 8],
  [2 ** 52, 2 ** 52], [['F32']], ['F32'], { toString: 1 }, { valueOf: null }, { shape: [1] }, { dtype: 'F32', shape: [2], data_offsets: [0, 8] }, new Array<number>(65).fill(1), new Array<number>(300).fill(0),
  '../x', '/etc/passwd', 'a\0b', '..', 'missing.safetensors',
]; // prettier-ignore
const jsonTexts = [
  '[',
  '{',
  '"',
  '1e999',
  '-',
  '[['.repeat(300),
  '{"a":'.repeat(100),
  '"a":1,',
  ',',
  '\\u0000',
  '\ufeff',
  'NaN',
  '"\\ud800"',
];

type Json = Record<string, unknown> | unknown[];

function editJson(json: string, edits: readonly Edit[]): string {
  const root = JSON.parse(json) as Json;
  const texts: Edit[] = [];
  for (const edit of edits) {
    const { kind, a, b, c } = edit;
    if (kind % 4 === 0) {
      texts.push(edit);
      continue;
    }
    // A place in the tree: one step per byte.
    let holder: Json = root;
    for (let path = a; ; path >>>= 4) {
      const keys = Object.keys(holder);
      if (keys.length === 0) break;
      const key = keys[path % keys.length]!;
      const inside = (holder as Record<string, unknown>)[key];
      if (typeof inside === 'object' && inside !== null && (path >>> 3) % 3 !== 0 && path > 15) {
        holder = inside as Json;
        continue;
      }
      if (kind % 4 === 1) (holder as Record<string, unknown>)[key] = structuredClone(pick(jsonValues, b));
      else if (kind % 4 === 2) delete (holder as Record<string, unknown>)[key];
      else {
        const name = pick(
          [
            '__metadata__',
            '__proto__',
            '',
            control,
            'constructor',
            'dtype',
            'weight',
            'x'.repeat(300),
            'kindling.crc32',
          ],
          b,
        );
        Object.defineProperty(holder, Array.isArray(holder) ? String(b % 4) : name, {
          value: structuredClone(c % 2 === 0 ? inside : pick(jsonValues, c)),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      break;
    }
  }
  let out = JSON.stringify(root);
  for (const { a, b, c } of texts) {
    const at = a % (out.length + 1);
    out =
      b % 3 === 0
        ? out.slice(0, at) + out.slice(at + 1 + (c % 8))
        : out.slice(0, at) + pick(jsonTexts, c) + out.slice(at);
  }
  return out;
}

export function safetensorsFile(header: string, data: Uint8Array, length?: number): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
  return join(size, json, data);
}

// ---- .npy

const npyWords = ["'descr'", "'<f4'", "'>f8'", "'|O'", "'<U9999999'", "[('a', '<f4')]", 'True', 'False', '()', '(0,)', '(99999999999, 99999999999)', '(1,' + '1,'.repeat(70) + ')', '(-1,)', '{', '}', "'shape': (2,), ", "'fortran_order': True, ", '\0', control, '('.repeat(500), ' '.repeat(3000), "'descr':".repeat(200)]; // prettier-ignore

function editNpy(file: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const length = new DataView(file.buffer, file.byteOffset).getUint16(8, true);
  let header = Buffer.from(file.subarray(10, 10 + length)).toString('latin1');
  let data = file.subarray(10 + length);
  let out: Uint8Array | undefined;
  for (const edit of edits) {
    const { kind, a, b, c } = edit;
    if (kind % 3 === 0) {
      const words = header.split(/(?=['(),: ])/);
      const at = a % words.length;
      words.splice(at, b % 3, pick(npyWords, c));
      header = words.join('');
    } else if (kind % 3 === 1) data = editBytes(data, { kind: b, a: c, b: a, c: b });
    else out = edit === edits[edits.length - 1] ? npyFile(header, data, 1 + (c % 4)) : out;
  }
  const made = out ?? npyFile(header, data);
  const last = edits[edits.length - 1]!;
  return last.c % 3 === 0 ? editBytes(made, last) : made;
}

export function npyFile(header: string, data: Uint8Array, major = 1): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(major === 1 ? 10 : 12);
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, major, 0]);
  const view = new DataView(head.buffer);
  if (major === 1) view.setUint16(8, header.length & 0xffff, true);
  else view.setUint32(8, header.length, true);
  return join(head, latin1(header), data);
}

// ---- the formats

export interface Format {
  readonly name: string;
  /** The bytes of a mutant. */
  make(mutant: Mutant): Uint8Array;
}

const zipBases = ['protocol1', 'protocol4', 'v3', 'parameters', 'dtypes', 'layouts', 'evil', 'module'].map(
  (name) => partsOf(fixture(`${name}.zip.pth`)),
);
const checkpointParts = partsOf(fixture('checkpoint.zip.pth'));
const legacyBases = ['protocol1', 'protocol4', 'view', 'parameters', 'dtypes', 'evil'].map((name) =>
  fixture(`${name}.legacy.pth`),
);
// The training checkpoint is large, so it comes seldom.
const zipBase = (base: number): readonly Part[] =>
  base % 40 === 0 ? checkpointParts : pick(zipBases, base >>> 8);

const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
const headers = [
  '{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}',
  '{"__metadata__":{"format":"pt","note":"x"},"a.weight":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},"c":{"dtype":"U8","shape":[0,3],"data_offsets":[16,16]},"d":{"dtype":"BOOL","shape":[8],"data_offsets":[16,24]}}',
];
const npys = [
  npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", floats),
  npyFile("{'descr': '>i2', 'fortran_order': True, 'shape': (3, 4), }  \n", floats),
];
const npz: readonly Part[] = [
  { name: 'a.npy', data: npys[0]! },
  { name: 'b.npy', data: npys[1]! },
];
/** What `readSharded` is given for `shard-1` and `shard-2`. */
export const shards: ReadonlyMap<string, Uint8Array> = new Map([
  ['shard-1.safetensors', safetensorsFile(headers[0]!, floats)],
  ['shard-2.safetensors', safetensorsFile(headers[1]!, floats)],
]);
const index =
  '{"metadata":{"total_size":48},"weight_map":{"a":"shard-1.safetensors","a.weight":"shard-2.safetensors","b":"shard-2.safetensors","c":"shard-2.safetensors","d":"shard-2.safetensors"}}';

const archiveOf = (deflated: boolean) => (mutant: Mutant) =>
  editArchive(zipBase(mutant.base), mutant.edits, deflated, (part, edits) =>
    part.name.endsWith('data.pkl') ? editPickle(part.data, edits) : edits.reduce(editBytes, part.data),
  );

function legacy({ base, edits }: Mutant): Uint8Array {
  const bytes = pick(legacyBases, base >>> 8);
  if (base % 4 === 0) return edits.reduce(editBytes, bytes);
  // Everything up to the storages is one pickle after the other.
  return editPickle(bytes, edits);
}

function safetensors({ base, edits }: Mutant): Uint8Array {
  const header = pick(headers, base >>> 8);
  if (base % 5 === 0) return edits.reduce(editBytes, safetensorsFile(header, floats) as Uint8Array);
  const last = edits[edits.length - 1]!;
  const json = editJson(header, edits);
  const length = last.c % 8 === 0 ? pick(interesting, last.b) : undefined;
  return safetensorsFile(json, last.c % 7 === 0 ? editBytes(floats, last) : floats, length);
}

export const formats: readonly Format[] = [
  { name: 'torch zip', make: archiveOf(false) },
  { name: 'torch zip, deflated', make: archiveOf(true) },
  { name: 'torch legacy', make: legacy },
  { name: 'safetensors', make: safetensors },
  {
    name: 'safetensors index',
    make: ({ base, edits }) =>
      base % 6 === 0
        ? edits.reduce(editBytes, latin1(index))
        : new TextEncoder().encode(editJson(index, edits)),
  },
  {
    name: 'npy',
    make: ({ base, edits }) =>
      base % 5 === 0
        ? edits.reduce(editBytes, pick(npys, base >>> 8) as Uint8Array)
        : editNpy(pick(npys, base >>> 8), edits),
  },
  {
    name: 'npz',
    make: ({ base, edits }) =>
      editArchive(npz, edits, base % 2 === 0, (part, inner) => editNpy(part.data, inner)),
  },
];
