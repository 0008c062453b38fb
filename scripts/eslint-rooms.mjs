/**
 * The lint rule behind docs/architecture.md: a file in `src` may import its own room and the rooms below it,
 * nothing else of `src`.
 */
import { posix } from 'node:path';

const device = ['kernels'];
const core = ['tensor', 'autograd', 'device', ...device];
const ops = ['ops', ...core];

/**
 * Which rooms each room may import, besides itself. `tensor` and `autograd` are one level; a Parameter lives in
 * `nn`, so `optim` may see it; `formats` and `data` know nothing of each other or of `nn`.
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
  data: ops,
  formats: ops,
  models: ['nn', 'optim', 'data', 'formats', ...ops],
};

/** Rooms at the very top; they may import everything, and only they may import each other or an entry file. */
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
 * @param {string} from the importing file
 * @param {string} specifier what it imports
 * @returns {string | null} why that import is not allowed, or null
 */
export function importProblem(from, specifier) {
  const file = from.replaceAll('\\', '/');
  const room = roomOf(file);
  if (room === null || room === top || !specifier.startsWith('.')) return null;
  const target = roomOf(posix.join(posix.dirname(file), specifier));
  if (target === null) return `src/${room} must not import "${specifier}", which is outside src`;
  if (target === room) return null;
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
