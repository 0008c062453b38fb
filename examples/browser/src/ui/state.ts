import { computed, signal } from '@preact/signals';
import { proxy, wrap } from 'comlink';
import type { Engine } from '../engine/engine.js';
import {
  trunks,
  type Confidence,
  type Epoch,
  type TrainEvent,
  type TrainResult,
  type TrunkName,
} from '../engine/messages.js';
import { download, readFiles, squareOf } from './pictures.js';

export interface Picture {
  readonly id: number;
  readonly bitmap: ImageBitmap;
}

export interface PictureClass {
  readonly id: number;
  readonly name: string;
  readonly pictures: readonly Picture[];
}

type Phase =
  | { readonly kind: 'starting' }
  | { readonly kind: 'idle' }
  | { readonly kind: 'looking'; readonly done: number; readonly of: number }
  | { readonly kind: 'training' }
  | { readonly kind: 'busy'; readonly text: string }
  | { readonly kind: 'failed'; readonly text: string };

export const phase = signal<Phase>({ kind: 'starting' });
export const adapter = signal('');
export const trunk = signal<TrunkName>('cifar_resnet8');
export const classes = signal<readonly PictureClass[]>([]);
export const settings = signal({ epochs: 30, learningRate: 0.01, batchSize: 16 });
export const history = signal<readonly Epoch[]>([]);
/** Epoch that the training under way ends with. */
export const lastEpoch = signal(0);
export const result = signal<TrainResult | null>(null);
/** Classes that the head knows, in its order. */
export const known = signal<readonly string[]>([]);
export const tried = signal<{ picture: ImageBitmap; confidences: readonly Confidence[] } | null>(null);
/** What happened last, in words: read out to those who do not see. */
export const notice = signal<{ readonly text: string; readonly bad: boolean } | null>(null);

export const isTraining = computed(() => phase.value.kind === 'looking' || phase.value.kind === 'training');
export const isBusy = computed(() => phase.value.kind !== 'idle');

/** Why training cannot begin, or null. */
export const missing = computed(() => {
  const named = classes.value.filter(({ pictures }) => pictures.length > 0);
  if (named.length < 2) return 'Two classes with pictures are needed.';
  const names = classes.value.map(({ name }) => name.trim());
  if (names.some((name) => name === '')) return 'A class has no name.';
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  return twice === undefined ? null : `Two classes are called ${twice}.`;
});

const worker = new Worker(new URL('../engine/worker.ts', import.meta.url), { type: 'module' });
worker.addEventListener('error', ({ message }) => {
  phase.value = { kind: 'failed', text: message || 'The worker of this page could not be loaded.' };
});
const engine = wrap<Engine>(worker);
let nextId = 1;

function say(text: string, bad = false): void {
  notice.value = { text, bad };
}

/** Shows what fails, and is idle afterwards. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
  } finally {
    if (phase.value.kind !== 'failed') phase.value = { kind: 'idle' };
  }
}

export async function start(): Promise<void> {
  try {
    adapter.value = await engine.start();
    phase.value = { kind: 'idle' };
  } catch (error) {
    phase.value = { kind: 'failed', text: error instanceof Error ? error.message : String(error) };
  }
}

export function addClass(name = ''): number {
  const id = nextId++;
  const taken = new Set(classes.value.map((entry) => entry.name));
  let number = classes.value.length + 1;
  while (taken.has(`Class ${number}`)) number++;
  classes.value = [...classes.value, { id, name: name || `Class ${number}`, pictures: [] }];
  return id;
}

function change(id: number, by: (entry: PictureClass) => PictureClass): void {
  classes.value = classes.value.map((entry) => (entry.id === id ? by(entry) : entry));
}

export function renameClass(id: number, name: string): void {
  change(id, (entry) => ({ ...entry, name }));
}

export function removeClass(id: number): void {
  for (const { pictures } of classes.value.filter((entry) => entry.id === id)) pictures.forEach(forget);
  classes.value = classes.value.filter((entry) => entry.id !== id);
}

export function removePicture(classId: number, picture: Picture): void {
  forget(picture);
  change(classId, (entry) => ({
    ...entry,
    pictures: entry.pictures.filter(({ id }) => id !== picture.id),
  }));
}

function forget({ id, bitmap }: Picture): void {
  bitmap.close();
  void engine.remove(id);
}

async function keep(classId: number, bitmaps: readonly ImageBitmap[]): Promise<void> {
  const pictures = bitmaps.map((bitmap) => ({ id: nextId++, bitmap }));
  await Promise.all(pictures.map(({ id, bitmap }) => engine.add(id, bitmap)));
  change(classId, (entry) => ({ ...entry, pictures: [...entry.pictures, ...pictures] }));
}

export async function addFiles(classId: number, files: Iterable<File>): Promise<void> {
  const { pictures, refused } = await readFiles(files);
  await keep(classId, pictures);
  const added = `${pictures.length} ${pictures.length === 1 ? 'picture' : 'pictures'} added.`;
  if (refused.length === 0) say(added);
  else say(`${added} Not a picture that this browser can read: ${refused.join(', ')}.`, true);
}

export async function addDrawn(classId: number, source: ImageBitmapSource): Promise<void> {
  await keep(classId, [await squareOf(source)]);
}

/** Outlines that pictures can be made of; the trunk that comes with the page has not seen the first five. */
export const outlines = [
  ...['bolt', 'chevron', 'drop', 'flower', 'house'],
  ...['circle', 'square', 'triangle', 'star', 'cross', 'ring', 'heart', 'arrow', 'crescent', 'hourglass'],
];

export const makePictures = (
  classId: number,
  outline: string,
  count = 12,
  seed = Math.floor(Math.random() * 1e6),
): Promise<void> =>
  attempt(async () => {
    phase.value = { kind: 'busy', text: `Making pictures of a ${outline}` };
    await keep(classId, await engine.makePictures(outline, count, seed));
    say(`${count} pictures of a ${outline} added.`);
  });

/** Three classes with pictures, for those who only want to see what happens. */
export async function useExample(): Promise<void> {
  for (const outline of outlines.slice(2, 5)) await makePictures(addClass(outline), outline, 24, 1);
  say('Three classes with 24 pictures each. Now train.');
}

export const train = (): Promise<void> =>
  attempt(async () => {
    phase.value = { kind: 'looking', done: 0, of: 1 };
    // What the head knows stays known, also without pictures.
    const used = classes.value.filter(
      ({ name, pictures }) => pictures.length > 0 || known.value.includes(name.trim()),
    );
    const names = used.map(({ name }) => name.trim());
    const goesOn = names.join('\n') === known.value.join('\n');
    if (!goesOn) history.value = [];
    lastEpoch.value = (history.value.at(-1)?.epoch ?? 0) + settings.value.epochs;
    const request = {
      ...settings.value,
      classes: used.map(({ pictures }, i) => ({
        name: names[i] as string,
        pictures: pictures.map(({ id }) => id),
      })),
    };
    const outcome = await engine.train(request, proxy(follow));
    known.value = outcome.classes;
    result.value = outcome;
    const last = history.value.at(-1);
    const share = last && (last.heldOutAccuracy ?? last.accuracy);
    const how = outcome.stopped ? 'Stopped' : 'Done';
    say(
      share === undefined
        ? `${how} before the first epoch.`
        : `${how} after epoch ${last?.epoch}: ${percent(share)} of the ` +
            `${outcome.heldOut ? 'held-out' : 'training'} pictures are right.`,
    );
    if (tried.value) await tryBitmap(tried.value.picture);
  });

function follow(event: TrainEvent): void {
  if (event.kind === 'epoch') {
    phase.value = { kind: 'training' };
    history.value = [...history.value, event];
  } else if (event.kind === 'looking') phase.value = event;
  else if (event.kind === 'lost') say('The GPU was lost. Opening it again …', true);
  else {
    history.value = history.value.filter(({ epoch }) => epoch <= event.epoch);
    say(`The GPU was lost and is back: going on from epoch ${event.epoch}.`);
  }
}

export const stop = (): Promise<void> => engine.stop();

async function tryBitmap(picture: ImageBitmap): Promise<void> {
  const confidences = await engine.predict(picture);
  if (confidences) tried.value = { picture, confidences };
  else say('Train first, then try a picture.', true);
}

export const tryPicture = async (source: ImageBitmapSource): Promise<void> => {
  try {
    await tryBitmap(await squareOf(source));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    say(`That picture could not be read: ${text}`, true);
  }
};

export const save = (): Promise<void> =>
  attempt(async () => {
    phase.value = { kind: 'busy', text: 'Saving' };
    const name = `${trunk.value}-${known.value.length}-classes.safetensors`;
    download(await engine.save(), name);
    say(`Saved as ${name}. "kindling predict --weights ${name}" reads it too.`);
  });

export const load = (file: File): Promise<void> =>
  attempt(async () => {
    phase.value = { kind: 'busy', text: `Loading ${file.name}` };
    const loaded = await engine.load(file);
    trunk.value = loaded.trunk;
    known.value = loaded.classes;
    history.value = [];
    result.value = tried.value = null;
    const here = new Set(classes.value.map(({ name }) => name.trim()));
    for (const name of loaded.classes) if (!here.has(name)) addClass(name);
    // The head's order, so that training goes on where it was.
    const rank = ({ name }: PictureClass): number => {
      const at = loaded.classes.indexOf(name.trim());
      return at < 0 ? loaded.classes.length : at;
    };
    classes.value = [...classes.value].sort((a, b) => rank(a) - rank(b));
    say(`${file.name} knows ${loaded.classes.join(', ')}. Try a picture, or add some and train on.`);
  });

export const loadTrunk = (name: TrunkName, file: File): Promise<void> =>
  attempt(async () => {
    phase.value = { kind: 'busy', text: `Loading ${file.name}` };
    await engine.loadTrunk(name, file);
    trunk.value = name;
    known.value = [];
    history.value = [];
    result.value = tried.value = null;
    say(`${trunks[name]} from ${file.name} looks at the pictures now. Train a head for it.`);
  });

export const percent = (share: number): string => `${(share * 100).toFixed(share === 1 ? 0 : 1)} %`;
