/** The published weight files, as weights/manifest.json lists them. */

import { CenterCrop, Compose, Normalize, Resize, ToTensor } from '../data/transforms.js';
import type { DownloadOptions } from '../formats/hub/index.js';

/** How images become the input a network was trained on. */
export interface InputRecipe {
  /** Length of the shorter side after resizing, in pixels. */
  readonly resize: number;
  /** Side of the square that is cut out of the middle. */
  readonly crop: number;
  readonly interpolation: 'bilinear' | 'bicubic';
  readonly antialias: boolean;
  /** Of red, green and blue between 0 and 1. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** One published weight file; the names of the fields are the manifest's. */
export interface WeightsRecord {
  /** The model's name, as in `models.list()`. */
  readonly model: string;
  /** `IMAGENET1K_V1` */
  readonly name: string;
  /** torchvision's full name: `ResNet50_Weights.IMAGENET1K_V1`. */
  readonly enum: string;
  /** Whether `DEFAULT` means this one: the most accurate that fits the usual image size. */
  readonly default: boolean;
  readonly url: string;
  /** The first digits of the file's SHA-256. */
  readonly sha256: string;
  /** Bytes, where known. */
  readonly fileSize?: number;
  /** MiB to three decimals, as torchvision publishes it. */
  readonly fileSizeMiB?: number;
  readonly numClasses: number;
  /** The list of class names in weights/categories. */
  readonly categories?: string;
  /** The classifier of the file is of no use: it is for taking features. */
  readonly featuresOnly?: boolean;
  readonly numParams: number;
  /** Multiply-adds of one image, in 10^9. */
  readonly gflops?: number;
  /** Per cent of the data set's validation or test images, by the publisher. */
  readonly accuracy?: { readonly acc1: number; readonly acc5?: number };
  readonly transforms: InputRecipe;
  /** Options of the model that the file needs. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly license: string;
  readonly source: string;
}

export interface Manifest {
  readonly version: number;
  readonly weights: readonly WeightsRecord[];
}

/** A published weight file: pass it as `weights`. */
export class WeightsEntry {
  constructor(
    readonly record: WeightsRecord,
    private readonly readCategories: (name: string) => Promise<readonly string[]> = categoriesOf,
  ) {}

  get model(): string {
    return this.record.model;
  }

  get name(): string {
    return this.record.name;
  }

  get isDefault(): boolean {
    return this.record.default;
  }

  /** What to do with an image first, as numbers. */
  get recipe(): InputRecipe {
    return this.record.transforms;
  }

  /** The transform that does it: `RGBImage` to a normalised `[3, crop, crop]` array. */
  transforms() {
    const { resize, crop, interpolation, mean, std } = this.recipe;
    return new Compose([
      new Resize(resize, interpolation),
      new CenterCrop(crop),
      new ToTensor(),
      new Normalize([...mean], [...std]),
    ]);
  }

  /** The names of the outputs, in order. @throws Error when the file is for features only */
  async categories(): Promise<readonly string[]> {
    const { categories } = this.record;
    if (categories === undefined)
      throw new Error(`${this.toString()}: has no classes; it is for taking features`);
    return this.readCategories(categories);
  }

  /** For `download` and `downloadFile`. */
  get file(): Pick<DownloadOptions, 'url' | 'sha256Prefix' | 'size'> {
    const { url, sha256, fileSize, fileSizeMiB } = this.record;
    const size = fileSize ?? (fileSizeMiB === undefined ? undefined : { mebibytes: fileSizeMiB });
    return { url, sha256Prefix: sha256, size };
  }

  /** Bytes of the file, to the digits known; null when not published. */
  get fileBytes(): number | null {
    const { fileSize, fileSizeMiB } = this.record;
    return fileSize ?? (fileSizeMiB === undefined ? null : Math.round(fileSizeMiB * 2 ** 20));
  }

  /** The file's path if it was downloaded before (Node), else null. */
  async cached(options: Pick<DownloadOptions, 'cacheDir'> = {}): Promise<string | null> {
    const { cachedFile } = await import('../formats/hub/node-download.js');
    return cachedFile({ ...this.file, ...options });
  }

  toString(): string {
    return this.record.enum;
  }
}

let entries: Promise<readonly WeightsEntry[]> | null = null;
let categoryLists: Readonly<Record<string, readonly string[]>> = {};

/**
 * Gives the list of weight files instead of reading `weights/manifest.json`: a bundle for the browser has no
 * such file beside it. Import the JSON with your bundler, or fetch it, and call this once; `categories`
 * likewise, by name.
 */
export function useManifest(
  manifest: Manifest,
  categories: Readonly<Record<string, readonly string[]>> = {},
): void {
  entries = Promise.resolve(entriesOf(manifest));
  categoryLists = categories;
}

function allEntries(): Promise<readonly WeightsEntry[]> {
  entries ??= readWeightsFile('manifest.json').then(
    (json) => entriesOf(json as Manifest),
    (error: unknown) => {
      // The next call may find it.
      entries = null;
      throw error;
    },
  );
  return entries;
}

function entriesOf({ version, weights }: Manifest): WeightsEntry[] {
  if (version !== 1 || !Array.isArray(weights))
    throw new Error(`models: a manifest of version ${version} cannot be read, only version 1`);
  return weights.map((record) => new WeightsEntry(record as WeightsRecord));
}

async function categoriesOf(name: string): Promise<readonly string[]> {
  return categoryLists[name] ?? ((await readWeightsFile(`categories/${name}.json`)) as string[]);
}

/**
 * Reads a file of the package's folder `weights`, which lies two folders up both from `src/models` and
 * `dist/models`.
 */
async function readWeightsFile(name: string): Promise<unknown> {
  const base: string | undefined = import.meta.url;
  const where = base === undefined ? name : `${new URL(`../../weights/${name}`, base)}`;
  try {
    if (base === undefined) throw new Error('a script that is not a module does not know where it lies');
    if (where.startsWith('file:') && typeof process === 'object') {
      const text = await process.getBuiltinModule('node:fs/promises').readFile(new URL(where), 'utf8');
      return JSON.parse(text) as unknown;
    }
    const response = await fetch(where);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return (await response.json()) as unknown;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `models: ${where} cannot be read: ${why}. In a bundle, import kindling/weights/${name} yourself and call ` +
        'models.useManifest(manifest, { imagenet1k }); or pass weights as a URL, bytes or a Blob',
      { cause },
    );
  }
}

/** The published weight files of a model, or of all. */
export async function weights(model?: string): Promise<WeightsEntry[]> {
  return (await allEntries()).filter((entry) => model === undefined || entry.model === model);
}

/** What may name an entry: `DEFAULT`, `IMAGENET1K_V2`, `ResNet50_Weights.IMAGENET1K_V2`. */
const entryName = /^([A-Za-z]\w*_Weights\.)?[A-Z][A-Z0-9_]*$/;

/** @internal Whether a string is meant as the name of an entry, not as a path or a URL. */
export const isEntryName = (text: string): boolean => entryName.test(text);

/**
 * A published weight file by torchvision's name: `ResNet50_Weights.IMAGENET1K_V2`,
 * `ResNet50_Weights.DEFAULT`, or, given the model, `IMAGENET1K_V2` or `DEFAULT`.
 *
 * @throws Error listing the entries when there is no such one, or when it is another model's
 */
export async function getWeight(name: string, model?: string): Promise<WeightsEntry> {
  const all = await allEntries();
  const [family, short] = name.includes('.') ? splitEnum(name) : [null, name];
  const familyOf = (entry: WeightsEntry): string => splitEnum(entry.record.enum)[0] ?? '';
  const candidates = all.filter(
    (entry) =>
      (model === undefined || entry.model === model) && (family === null || familyOf(entry) === family),
  );
  if (model === undefined && family === null)
    throw new Error(`models: '${name}' of which model? Say e.g. 'ResNet50_Weights.${name}'`);
  const found = candidates.find((entry) => (short === 'DEFAULT' ? entry.isDefault : entry.name === short));
  if (found !== undefined) return found;
  const ofFamily = family === null ? [] : all.filter((entry) => familyOf(entry) === family);
  const other = ofFamily[0]?.model;
  if (model !== undefined && other !== undefined && other !== model)
    throw new Error(`models: ${name} is for ${other}, not for ${model}${listed(all, model)}`);
  if (model === undefined && other === undefined)
    throw new Error(`models: there are no '${family}'; models.weights() lists all entries`);
  throw new Error(`models: ${model ?? other} has no weights called '${short}'${listed(all, model ?? other)}`);
}

function splitEnum(name: string): [family: string, short: string] {
  const dot = name.lastIndexOf('.');
  return [name.slice(0, dot), name.slice(dot + 1)];
}

function listed(all: readonly WeightsEntry[], model: string | undefined): string {
  const names = all.filter((entry) => entry.model === model).map(({ name }) => name);
  const list = names.length === 0 ? 'there are none' : `there is DEFAULT, ${names.join(', ')}`;
  return `; for ${model} ${list}. A file of this name is meant by './...'`;
}
