/**
 * The lint rule behind docs/architecture.md: a file in `src` may import its own room and the rooms below it,
 * nothing else of `src`. A room may have rooms within, for which the same holds.
 */
import { posix } from 'node:path';

const device = ['kernels'];
const core = ['tensor', 'autograd', 'device', ...device];
const ops = ['ops', ...core];

/**
 * Which rooms each room may import, besides itself. `tensor` and `autograd` are one level; a Parameter lives
 * in `nn`, so `optim` may see it; `formats`, `data` and `metrics` know nothing of each other or of `nn`.
 * @type {Readonly<Record<string, readonly string[]>>}
 */
export const rooms = {
  kernels: [],
  device,
  tensor: core,
  autograd: core,
  ops: core,
  nn: ops,
  optim: ['nn', ...ops],
  amp: ['optim', 'nn', ...ops],
  onnx: ['nn', 'formats', ...ops],
  data: ops,
  metrics: ops,
  formats: ops,
  tensorboard: ['formats', ...ops],
  models: ['nn', 'optim', 'data', 'formats', ...ops],
  train: ['models', 'amp', 'optim', 'nn', 'data', 'formats', ...ops],
  distributed: ['nn', 'optim', 'data', 'formats', ...ops],
};

const plans = ['base', 'expr', 'pointwise'];

const pointwise = ['base', 'creation', 'pointwise'];
const shapes = [...pointwise, 'gather', 'shape'];
const reductions = [...shapes, 'reduce'];

/**
 * Rooms within rooms: which of the others each may import, besides itself.
 * @type {Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>}
 */
export const subRooms = {
  kernels: {
    base: [],
    expr: ['base'],
    pointwise: ['base', 'expr'],
    reduce: plans,
    index: plans,
    matmul: ['base'],
    attention: ['base', 'matmul'],
    conv: ['base', 'matmul'],
    images: ['base'],
    norm: ['base', 'reduce', 'matmul'],
    linalg: ['base'],
    random: ['base', 'expr'],
    optim: ['base'],
    tuning: ['base', 'matmul', 'conv'],
  },
  ops: {
    base: [],
    creation: ['base'],
    pointwise: ['base', 'creation'],
    gather: pointwise,
    shape: [...pointwise, 'gather'],
    reduce: shapes,
    autograd: reductions,
    index: reductions,
    matmul: reductions,
    linalg: [...reductions, 'index', 'matmul'],
    random: [...reductions, 'index'],
    conv: shapes,
    images: [...shapes, 'matmul', 'random'],
    norm: [...reductions, 'matmul'],
    loss: reductions,
    sequence: [...reductions, 'autograd', 'matmul', 'random'],
  },
  nn: {
    base: [],
    layers: ['base'],
    tools: ['base', 'layers'],
  },
};

/**
 * Rooms at the very top; they may import everything, and only they may import each other or an entry file.
 */
const top = 'cli';

/**
 * The room of a file below `src`: its first folder, or '' for an entry file such as `src/index.ts`.
 * @param {string} path any path with forward slashes
 * @returns {string | null} null for a file outside `src`
 */
function roomOf(path) {
  const inside = /(?:^|\/)src\/(.+)$/.exec(path)?.[1];
  if (inside === undefined) return null;
  const slash = inside.indexOf('/');
  return slash < 0 ? '' : inside.slice(0, slash);
}

/**
 * The same one level down, in rooms that have rooms within.
 * @param {string} path
 * @returns {string | null} '' for a file that lies in the room itself
 */
function subRoomOf(path) {
  const inside = /(?:^|\/)src\/[^/]+\/(.+)$/.exec(path)?.[1];
  if (inside === undefined) return null;
  const slash = inside.indexOf('/');
  return slash < 0 ? '' : inside.slice(0, slash);
}

/**
 * @param {string} room
 * @param {string} file the importing file
 * @param {string} target the file it imports, in the same room
 * @returns {string | null}
 */
function subRoomProblem(room, file, target) {
  const within = subRooms[room];
  if (within === undefined) return null;
  const [from, to] = [subRoomOf(file), subRoomOf(target)];
  if (from === null || from === '' || from === to) return null;
  const allowed = within[from];
  if (allowed === undefined)
    return `src/${room}/${from} is not a room yet: give it a row in scripts/eslint-rooms.mjs`;
  if (to !== null && allowed.includes(to)) return null;
  const below = allowed.length === 0 ? 'nothing outside itself' : `only ${allowed.join(', ')}`;
  return `src/${room}/${from} must not import src/${room}/${to}: it may import ${below}`;
}

/**
 * @param {string} from the importing file
 * @param {string} specifier what it imports
 * @returns {string | null} why that import is not allowed, or null
 */
export function importProblem(from, specifier) {
  const file = from.replaceAll('\\', '/');
  const room = roomOf(file);
  if (room === null || room === top || !specifier.startsWith('.')) return null;
  const path = posix.join(posix.dirname(file), specifier);
  const target = roomOf(path);
  if (target === null) return `src/${room} must not import "${specifier}", which is outside src`;
  if (target === room) return subRoomProblem(room, file, path);
  if (room === '') return target === top ? 'an entry file of the package must not import src/cli' : null;
  const allowed = rooms[room];
  if (allowed === undefined)
    return `src/${room} is not a room yet: give it a row in scripts/eslint-rooms.mjs`;
  if (allowed.includes(target)) return null;
  const below = allowed.length === 0 ? 'nothing outside itself' : `only ${allowed.join(', ')}`;
  return `src/${room} must not import src/${target || 'an entry file'}: it may import ${below}`;
}

/** @type {import('eslint').Rule.RuleModule} */
export const roomsRule = {
  meta: {
    type: 'problem',
    docs: { description: 'imports point downwards only (docs/architecture.md)' },
    messages: { direction: '{{problem}}.' },
    schema: [],
  },
  create(context) {
    /** @param {import('estree').Node | null | undefined} source */
    const check = (source) => {
      if (source?.type !== 'Literal' || typeof source.value !== 'string') return;
      const problem = importProblem(context.filename, source.value);
      if (problem !== null) context.report({ node: source, messageId: 'direction', data: { problem } });
    };
    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      /** `import('./x.js').Type` in a type position. @param {{ source?: import('estree').Node }} node */
      TSImportType: (node) => check(node.source),
    };
  },
};
