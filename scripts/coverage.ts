/**
 * Writes docs/op-coverage.md: every public name of PyTorch (scripts/names/names.json) and what kindling has
 * of it. `npm run coverage`; a test fails while the page is out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as k from '../src/index.js';
import * as transforms from '../src/data/transforms.js';
import { camelCase } from './names/camel-case.js';
import { otherNames, reasonFor } from './names/reasons.js';

type Names = Readonly<Record<string, unknown>>;

const all = k as unknown as Names;
const within = (room: unknown, ...path: string[]): Names =>
  path.reduce<unknown>((found, key) => (found as Names | undefined)?.[key], room) as Names;

/** What of kindling answers to each room of PyTorch; the fields of instances are named by hand. */
const rooms: Readonly<Record<string, (name: string) => boolean>> = {
  torch: (name) => name in all || name in k.autograd || name in k.Tensor.prototype,
  'torch.Tensor': isTensorName,
  'torch.Tensor, in place': isTensorName,
  'torch.linalg': (name) => name in (within(all, 'linalg') ?? {}),
  'torch.special': (name) => name in (within(all, 'special') ?? {}),
  'torch.nn': (name) => name in k.nn,
  'torch.nn.functional': (name) => name in k.nn.functional,
  'torch.nn.init': (name) => name in k.nn.init,
  'torch.nn.utils': (name) => name in k.nn.utils,
  'torch.nn.utils.rnn': (name) => name in (within(k.nn.utils, 'rnn') ?? {}),
  'torch.autograd': (name) => name in k.autograd || name in all,
  'torch.autograd.functional': (name) => name in (within(k.autograd, 'functional') ?? {}),
  'torch.optim': (name) => name in k.optim,
  'torch.optim.lr_scheduler': (name) => name in (within(k.optim, 'lrScheduler') ?? k.optim),
  'torch.utils.data': (name) => name in k.data,
  'torchvision.transforms': (name) => name in transforms,
};

const fields = new Set(['shape', 'dtype', 'grad', 'requiresGrad', 'gradFn', 'isLeaf', 'ndim', 'retainsGrad']);
function isTensorName(name: string): boolean {
  return name in k.Tensor.prototype || fields.has(name);
}

interface Row {
  readonly name: string;
  readonly state: 'here' | 'other name' | 'missing' | 'not meant';
  readonly note: string;
}

function rowOf(room: string, name: string): Row {
  const has = rooms[room]!;
  const other = otherNames[`${room}.${name}`] ?? otherNames[name];
  if (has(camelCase(name)) || has(name)) return { name, state: 'here', note: '' };
  if (other !== undefined) return { name, state: 'other name', note: other };
  const reason = reasonFor(room, name);
  return reason === null ? { name, state: 'missing', note: '' } : { name, state: 'not meant', note: reason };
}

/** The page as Markdown. */
export function page(): string {
  const names = JSON.parse(readFileSync(new URL('names/names.json', import.meta.url), 'utf8')) as Readonly<
    Record<string, readonly string[]>
  >;
  const tables = Object.entries(names).map(([room, list]) => ({
    room,
    rows: list.map((name) => rowOf(room, name)),
  }));
  const count = (rows: readonly Row[], state: Row['state']): number =>
    rows.filter((row) => row.state === state).length;
  const line = (title: string, rows: readonly Row[]): string => {
    const here = count(rows, 'here') + count(rows, 'other name');
    const meant = rows.length - count(rows, 'not meant');
    return `| ${title} | ${rows.length} | ${count(rows, 'here')} | ${count(rows, 'other name')} | ${count(rows, 'missing')} | ${count(rows, 'not meant')} | ${((100 * here) / meant).toFixed(1)} % |`;
  };
  const listing = (rows: readonly Row[], state: Row['state']): string =>
    rows
      .filter((row) => row.state === state)
      .map((row) => `\`${row.name}\``)
      .join(' ');
  const byNote = (rows: readonly Row[], state: Row['state']): string[] => {
    const notes = new Map<string, string[]>();
    for (const { name, note, state: own } of rows)
      if (own === state) notes.set(note, [...(notes.get(note) ?? []), `\`${name}\``]);
    return [...notes].map(([note, list]) => `- ${note}: ${list.join(' ')}`);
  };
  const section = ({ room, rows }: (typeof tables)[number]): string =>
    [
      `## ${room}`,
      `Here: ${listing(rows, 'here')}`,
      ...(count(rows, 'other name') > 0
        ? [`Under another name:\n\n${byNote(rows, 'other name').join('\n')}`]
        : []),
      ...(count(rows, 'missing') > 0 ? [`Missing: ${listing(rows, 'missing')}`] : []),
      ...(count(rows, 'not meant') > 0
        ? [`Not meant to be here:\n\n${byNote(rows, 'not meant').join('\n')}`]
        : []),
    ].join('\n\n');
  return `# PyTorch's names

Every public name of PyTorch 1.13 and of torchvision's transforms, written by \`npm run coverage\` from what kindling exports. Names are
camelCased (\`index_add_\` is \`indexAdd_\`). The share is of the names that can be meant here: tensors that are complex, sparse or
quantized, other machines and PyTorch's insides are not counted. [From PyTorch](from-pytorch.md) says what differs in use.

| room | names | here | under another name | missing | not meant | share |
|---|---|---|---|---|---|---|
${tables.map(({ room, rows }) => line(room, rows)).join('\n')}
${line(
  'all',
  tables.flatMap(({ rows }) => rows),
)}

${tables.map(section).join('\n\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('../docs/op-coverage.md', import.meta.url), page());
}
